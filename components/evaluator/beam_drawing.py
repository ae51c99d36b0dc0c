"""Draws the fakes and tallies them, one Beam pass over the seeds.

A worker loads the exported generator and the extractor once, draws a block, and passes on its tally
and, of the first blocks only, the images. Tallies merge along a fixed binary tree, so floating
point adds up in the same order on one worker or a hundred.
"""

import logging
import pickle
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from tfx.dsl.io import fileio

from common.contract import ContractError
from judge import generation, local_generator

_progress = logging.getLogger("mnist_gan.progress")


class _DrawBlocks(beam.DoFn):
    """(role, blocks) -> the tally of each block, and the images of the first blocks."""

    SAMPLE_TAG = "sample"

    def __init__(self, task: generation.Task) -> None:
        self._task = task

    def setup(self) -> None:
        # Loaded at first use and not here: a model that can't be loaded is a verdict, not a crash.
        self._generators: dict[str, local_generator.Generator] = {}

    def process(self, element: tuple[str, list[int]]) -> Iterator[Any]:
        role, blocks = element
        task = self._task
        for block in blocks:
            rows = np.arange(block * task.block, min((block + 1) * task.block, len(task.labels)))
            seeds, asked = task.first_seed + rows, task.labels[rows]
            started = time.monotonic()
            images, problems = self._draw(role, seeds, asked)
            counted, sample = generation.tally(
                seeds[: len(images)],
                asked[: len(images)],
                images,
                task.num_classes,
                task.extractor,
            )
            counted.problems = problems
            seconds = max(time.monotonic() - started, 1e-9)
            _progress.info(
                "judge: block %d of %s",
                block,
                role,
                extra={
                    "progress": {
                        "stage": f"judge {role}",
                        "step": min((block + 1) * task.block, len(task.labels)),
                        "total": len(task.labels),
                        "rate": len(rows) / seconds,
                        "unit": "images/s",
                        "metrics": {},
                    }
                },
            )
            yield (role, block % generation.GROUPS), (block // generation.GROUPS, counted)
            if rows[0] < generation.SAMPLE:
                yield beam.pvalue.TaggedOutput(self.SAMPLE_TAG, (role, (block, sample)))

    def _draw(
        self, role: str, seeds: np.ndarray, asked: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        none = np.zeros((0, *self._task.image_shape), np.float32)
        try:
            generator = self._generators.get(role)
            if generator is None:
                generator = local_generator.Generator(self._task.models[role])
                self._generators[role] = generator
            problems = generation.contract_problems(
                generator.contract, self._task.image_shape, self._task.labels
            )
            if problems:
                return none, tuple(problems)
            return generator.draw(seeds, generator.contract.askable(asked)), ()
        except (ContractError, local_generator.GeneratorError) as error:
            return none, (str(error),)


class _MergeInOrder(beam.CombineFn):
    """Merges (position, generation.Tally) along one fixed binary tree, in whatever order they come.

    The accumulator holds whole subtrees by (level, index); two that are siblings become their
    parent. Of n leaves, at most about log n subtrees are waiting at a time in each bundle.
    """

    def create_accumulator(self) -> dict:
        return {}

    def add_input(self, accumulator: dict, element: tuple[int, generation.Tally]) -> dict:
        position, counted = element
        return self._add(accumulator, (0, position), counted)

    def merge_accumulators(self, accumulators) -> dict:
        merged: dict = {}
        for accumulator in accumulators:
            for node, counted in accumulator.items():
                self._add(merged, node, counted)
        return merged

    def extract_output(self, accumulator: dict) -> generation.Tally:
        # Left to right: a subtree's first leaf is index * 2**level.
        ordered = sorted(accumulator.items(), key=lambda item: item[0][1] << item[0][0])
        return generation.merge_all(counted for _, counted in ordered)

    @staticmethod
    def _add(nodes: dict, node: tuple[int, int], counted: generation.Tally) -> dict:
        level, index = node
        while (level, index ^ 1) in nodes:
            sibling = nodes.pop((level, index ^ 1))
            counted = (
                generation.merge(sibling, counted)
                if index & 1
                else generation.merge(counted, sibling)
            )
            level, index = level + 1, index >> 1
        nodes[level, index] = counted
        return nodes


def run(
    pipeline: beam.Pipeline, task: generation.Task, path: str, shards: int | None = None
) -> None:
    """Draws and tallies the fakes of every model in `task` and writes them to the file `path`.

    Args:
      pipeline: an empty Beam pipeline; it is run here.
      task: what to draw.
      path: for `read`; workers must be able to write it.
      shards: elements that the work is cut into for each model; None: one for each block. The
        result is the same, bit for bit.
    """
    shards = min(shards or task.num_blocks, task.num_blocks)
    work = [
        (role, list(range(shard, task.num_blocks, shards)))
        for role in task.models
        for shard in range(shards)
    ]
    with pipeline as p:
        drawn = (
            p
            | "Seeds" >> beam.Create(work, reshuffle=True)
            | "Draw"
            >> beam.ParDo(_DrawBlocks(task)).with_outputs(_DrawBlocks.SAMPLE_TAG, main="tallies")
        )
        tallies = drawn.tallies | "Merge" >> beam.CombinePerKey(_MergeInOrder())
        sample = drawn[_DrawBlocks.SAMPLE_TAG]
        (
            p
            | "Once" >> beam.Create([path])
            | "Write" >> beam.Map(_write, beam.pvalue.AsList(tallies), beam.pvalue.AsList(sample))
        )


def read(path: str) -> dict[str, generation.Fakes]:
    """What `run` wrote: role to Fakes."""
    with fileio.open(path, "rb") as file:
        return pickle.load(file)


def _write(path: str, tallies: list, samples: list) -> None:
    roles = sorted({role for (role, _), _ in tallies})
    result = {}
    for role in roles:
        groups = sorted((group, counted) for (r, group), counted in tallies if r == role)
        blocks = sorted(
            ((block, part) for r, (block, part) in samples if r == role), key=lambda b: b[0]
        )
        result[role] = generation.collect(
            [counted for _, counted in groups], [part for _, part in blocks]
        )
    with fileio.open(path, "wb") as file:
        pickle.dump(result, file)
