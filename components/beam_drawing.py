"""Draws the fakes, one Beam pass over blocks of seeds.

A worker loads the exported generator once. The blocks are always the same, so the sharding does not
change what is drawn.
"""

import logging
import pickle
import time
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from tfx.dsl.io import fileio

from common.contract import ContractError
from judge import generation, local_generator

_progress = logging.getLogger("mnist_gan.progress")


class _DrawBlock(beam.DoFn):
    """(role, block) -> (role, block, its Fakes)."""

    def __init__(self, task: generation.Task) -> None:
        self._task = task

    def setup(self) -> None:
        # Loaded at first use and not here: a model that can't be loaded is a verdict, not a crash.
        self._generators: dict[str, local_generator.Generator] = {}

    def process(self, element: tuple[str, int]) -> Iterator[tuple[str, int, generation.Fakes]]:
        role, block = element
        seeds, asked = self._task.block(block)
        started = time.monotonic()
        images, problems = self._draw(role, seeds, asked)
        rate = len(seeds) / max(time.monotonic() - started, 1e-9)
        _progress.info(
            "judge: block %d of %s",
            block,
            role,
            extra={
                "progress": {
                    "step": int(seeds[-1]) + 1 - self._task.first_seed,
                    "total": len(self._task.labels),
                    "rate": rate,
                    "unit": "images/s",
                }
            },
        )
        yield role, block, generation.Fakes.of(seeds, asked, images, problems)

    def _draw(
        self, role: str, seeds: np.ndarray, asked: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        none = np.zeros((0, *self._task.image_shape), np.float32)
        try:
            if role not in self._generators:
                self._generators[role] = local_generator.Generator(self._task.models[role])
            generator = self._generators[role]
            problems = generation.contract_problems(
                generator.contract, self._task.image_shape, self._task.labels
            )
            if problems:
                return none, tuple(problems)
            return generator.draw(seeds, generator.contract.effective_labels(asked)), ()
        except (ContractError, local_generator.GeneratorError) as error:
            return none, (str(error),)


def run(pipeline: beam.Pipeline, task: generation.Task, path: str) -> dict[str, generation.Fakes]:
    """Draws the fakes of every model in `task`.

    Args:
      pipeline: an empty Beam pipeline; it is run here.
      task: what to draw.
      path: of a file that workers can write; it is removed.

    Returns:
      role to fakes.
    """
    work = [(role, block) for role in task.models for block in range(task.num_blocks)]
    with pipeline as p:
        drawn = (
            p
            | "Seeds" >> beam.Create(work, reshuffle=True)
            | "Draw" >> beam.ParDo(_DrawBlock(task))
        )
        p | "Once" >> beam.Create([path]) | "Write" >> beam.Map(_write, beam.pvalue.AsList(drawn))
    with fileio.open(path, "rb") as file:
        blocks = pickle.load(file)
    fileio.remove(path)
    return {
        role: generation.Fakes.joined([fakes for r, _, fakes in blocks if r == role])
        for role in task.models
    }


def _write(path: str, blocks: list) -> None:
    with fileio.open(path, "wb") as file:
        pickle.dump(sorted(blocks, key=lambda block: block[:2]), file)
