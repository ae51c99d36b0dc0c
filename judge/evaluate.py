"""The judge's metrics for anything that gives images: `mnist-gan evaluate`.

A SavedModel of this project or another, a folder of versions, a folder of images, or an `.npz`.
The metrics, the document and the images are those of the Evaluator; what is missing is a
baseline, and nothing is blessed by it.
"""

import dataclasses
import functools
import json
import logging
import os
import pathlib
import tempfile

import numpy as np

from common.files import atomic_path, disk_fault
from common.images import PINNED_FOR
from datasets.examples import read_prepared
from datasets.image_files import AS_THEY_ARE, Conversion, Range
from datasets.source import DataSource
from judge import (
    assess,
    generation,
    held_out,
    local_generator,
    measure,
    reference,
    registry,
    sheets,
    targets,
)
from judge.judge_config import JudgeConfig
from judge.targets import EvaluateError
from metrics import own_extractors

_progress = logging.getLogger("mnist_gan.progress")


class OutputError(RuntimeError):
    """All was measured, but the images or `evaluation.json` could not be written.

    Attributes:
      document: what `evaluate` would have returned.
    """

    def __init__(self, message: str, document: dict):
        super().__init__(message)
        self.document = document


def evaluate(
    target: str | os.PathLike,
    data: DataSource,
    config: JudgeConfig,
    *,
    value_range: Range | None = None,
    conversion: Conversion = AS_THEY_ARE,
    seed: int = 0,
    output_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> dict:
    """Measures `target` against the test split of `data`.

    Args:
      target: a SavedModel folder, a base path of versions (the newest is taken), a folder of
        images (their classes are the names of the folders they are in, where those are class
        names or numbers), or an `.npz` with `images` and maybe `labels`.
      data: the data set, prepared.
      config: `num_fakes` and `cas_fakes` say how many a generator draws; given images are all
        taken, at most as many as the train split holds. Its thresholds become `checks`.
      value_range: what black and white are in float pixels; None where the target says it itself.
      conversion: what may be done to images of a folder that do not fit.
      seed: of the latents; 0 as the seed that the Evaluator of a run with seed 0 has.
      output_dir: where `evaluation.json` and the images go; None for nowhere.
      cache_dir: where reference statistics are kept; None for nowhere.

    Returns:
      the document of `assess.judge` without its decision, with `target`: kind, path, count
      (measured), given (more than count where there were more than train images), `unreadable`
      (name to why), `conditional` and `assumed` (sentences).

    Raises:
      EvaluateError: nothing in `target` can be evaluated, or `output_dir` can't be written.
      OutputError: writing failed after all was measured; the document is attached.
      ValueError: the data or the extractor can't be read.
    """
    if output_dir is not None:
        _check_writable(pathlib.Path(output_dir))
    found = targets.open_target(
        pathlib.Path(target), data.class_names, value_range, conversion, data.image_shape
    )
    given = len(found.images) if found.images is not None else config.num_fakes
    cache = os.fspath(cache_dir) if cache_dir else None
    read = functools.partial(read_prepared, data)
    own = None
    if data.dataset not in PINNED_FOR:
        _progress.info("evaluate: feature extractors of %s", data.dataset)
        own = own_extractors.made(
            cache, data.dataset, data.fingerprint, data.num_classes, lambda s: read(s).arrays
        )
    extractors = reference.load_extractors(own)
    real = reference.load(data, read, extractors, given, cache)
    scores = held_out.scores(data, read, extractors, config, cache)
    if found.images is None:
        counts = reference.apportion(real.class_counts(), real.num_fakes)
        labels = generation.ordered_labels(counts, seed)
        seeds = generation.first_seed(seed) + np.arange(real.num_fakes)
    else:
        # In mixed order, because some metrics take the first ones; at most as many as there are
        # real train images to set beside them.
        order = np.random.default_rng(seed).permutation(given)[: real.num_fakes]
        found = dataclasses.replace(
            found,
            images=found.images[order],
            labels=None if found.labels is None else found.labels[order],
        )
        labels = np.zeros(len(order), np.int64) if found.labels is None else found.labels
        seeds = np.arange(len(order))
    fakes = _draw(found, seeds, labels)
    cas = None
    if config.cas_fakes and found.draw is not None and found.conditional:
        cas = measure.classification_score(found.draw, real, config.cas_fakes, seed)
    document, measured = assess.judge(
        real, fakes, config, extractors, scores, conditional=found.conditional, cas=cas
    )
    for key in (
        *("blessed", "forced", "force_reason", "replaced", "replace_reason", "reason"),
        "baseline",
    ):
        del document[key]
    broken = [
        check["sentence"]
        for check in document["checks"]
        if check["name"] in ("works", "enough_reference") and not check["passed"]
    ]
    if broken:
        raise EvaluateError(f"{found.path} can't be measured: {'; '.join(broken)}")
    document["seed"] = seed
    document["target"] = {
        "kind": found.kind,
        "path": found.path,
        "count": fakes.drawn,
        "given": given,
        "conditional": found.conditional,
        "unreadable": found.unreadable,
        "assumed": found.assumed,
    }
    if output_dir is not None:
        folder = pathlib.Path(output_dir)
        try:
            sheets.draw(folder, real, fakes, measured)
            with atomic_path(folder / "evaluation.json") as path:
                text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
                path.write_text(text + "\n")
        except OSError as error:
            raise OutputError(_unwritable(folder, error), document) from None
    return document


def table(document: dict) -> list[tuple[str, str, str]]:
    """The metrics for people: (title, value, its interval and what real images score, or "")."""
    return [(row.metric.title, row.text, row.beside) for row in registry.rows(document)]


def _check_writable(folder: pathlib.Path) -> None:
    """Before the minutes that measuring takes.

    Raises:
      EvaluateError: files can't be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise EvaluateError(_unwritable(folder, error)) from None


def _unwritable(folder: pathlib.Path, error: OSError) -> str:
    return f"{folder} can't be written: {disk_fault(str(error), folder) or error.strerror or error}"


def _draw(target: targets.Target, seeds: np.ndarray, labels: np.ndarray) -> generation.Fakes:
    parts = []
    for start in range(0, len(seeds), generation.BLOCK):
        rows = slice(start, start + generation.BLOCK)
        if target.images is not None:
            images = target.images[rows]
        elif target.draw is not None:
            try:
                images = target.draw(seeds[rows], labels[rows])
            except local_generator.GeneratorError as error:
                raise EvaluateError(str(error)) from error
        parts.append(generation.Fakes.of(seeds[rows], labels[rows], images))
        done = min(start + generation.BLOCK, len(seeds))
        _progress.info(
            "evaluate: %d of %d",
            done,
            len(seeds),
            extra={"progress": {"step": done, "total": len(seeds)}},
        )
    return generation.Fakes.joined(parts)
