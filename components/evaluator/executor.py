"""Executor of the Evaluator: from artifacts to artifacts; what it decides is in `assess.py`."""

import contextlib
import functools
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from common.contract import ContractError, GeneratorContract
from common.files import atomic_path
from common.images import to_uint8
from components import dataset_properties
from components.evaluator import baseline as baseline_lib
from components.evaluator import beam_drawing
from datasets.examples import Split, read_examples
from judge import assess, generation, local_generator, measure, reference, replacement, sheets
from judge.judge_config import JudgeConfig
from judge.plots import digit_grid
from serving import versions

EVALUATION_FILE = "evaluation.json"
SAMPLES_FILE = "samples.png"
SAMPLES_SEED = 0

_log = logging.getLogger(__name__)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Judges a generator. See `components.evaluator.component.Evaluator`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Draws, measures, decides and writes `evaluation` and `blessing`.

        A generator that can't be read or does not keep its contract is judged "not blessed"; data
        or an extractor that can't be read is an error.

        Raises:
          ValueError: the examples lack a split, or the extractor can't be loaded.
        """
        started = time.monotonic()
        config = JudgeConfig.model_validate_json(exec_properties["judge_config"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        model_dir = baseline_lib.model_dir(model)
        seconds: dict[str, float] = {}

        extractors = reference.load_extractors(config.extractor)
        with _timed(seconds, "reference"):
            real = reference.load(
                dataset_properties.read(examples),
                functools.partial(read_split, examples),
                extractors,
                config.num_fakes,
                _cache_dir(evaluation.uri),
            )
        baseline = _single(input_dict.get("baseline_model"))
        models, baseline_facts, gate = {"model": model_dir}, None, []
        if baseline is not None:
            models["baseline"] = baseline_lib.model_dir(baseline)
            baseline_facts = {"uri": baseline.uri, "id": baseline.id}
        digest = _digest(model_dir)
        if serving_base := exec_properties.get("serving_base"):
            models, baseline_facts = {"model": model_dir}, None
            if found := versions.in_service(serving_base, other_than=digest):
                served, served_digest = found
                baseline_facts = {
                    "uri": str(served.path),
                    "id": baseline.id if baseline else None,
                    "version": served.number,
                    "digest": served_digest,
                }
                gate = replacement.checks(
                    {
                        "settings": config.for_data(real.data.dataset).model_dump(),
                        "num_reference": len(real.labels),
                        "data": {"dataset": real.data.dataset},
                    },
                    served.metadata,
                    served.number,
                )
                if served_digest in (None, served.digest_when_pushed or served_digest):
                    models["baseline"] = str(served.path)
                else:
                    altered = (
                        "its files are not those that were pushed (`mnist-gan lineage verify` "
                        f"names them): remove {served.path} and run again"
                    )
                    gate.append(replacement.comparable(altered, served.number))
        with _timed(seconds, "generation"):
            fakes = self._draw(real, models, exec_properties["seed"], evaluation.uri)
        contract = _contract(model_dir)
        conditional = contract is None or contract.conditional
        cas = None
        # Without labels there is nothing to train a classifier on.
        if config.cas_fakes and conditional and len(fakes["model"].images):
            with _timed(seconds, "cas"):
                cas = measure.classification_score(
                    lambda seeds, asked: local_generator.load(model_dir).draw(seeds, asked),
                    real,
                    config.cas_fakes,
                    exec_properties["seed"],
                )
        with _timed(seconds, "measuring"):
            document, measured = assess.judge(
                real,
                fakes["model"],
                config,
                extractors,
                conditional=conditional,
                baseline=fakes.get("baseline"),
                baseline_facts=baseline_facts,
                cas=cas,
                gate=gate,
                force=exec_properties.get("force_bless") or "",
                replace=exec_properties.get("replace") or "",
            )
        folder = pathlib.Path(evaluation.uri)
        with _timed(seconds, "images"):
            sheets.draw(folder, real, fakes["model"], measured)
            _draw_samples(folder, model_dir)
        document |= {
            "preset": exec_properties.get("preset") or None,
            "seed": exec_properties["seed"],
            "first_seed": generation.first_seed(exec_properties["seed"]),
            # What `baseline` was in service of; the Pusher looks whether it still is.
            "serving_base": serving_base or None,
            "model": {"uri": model.uri, "id": model.id, "digest": digest},
            "seconds": seconds | {"total": time.monotonic() - started},
        }
        _write(document, evaluation, blessing, model, baseline)
        _log.info("%s", document["reason"])

    def _draw(
        self,
        real: reference.Reference,
        models: dict[str, str],
        seed: int,
        folder: str,
    ) -> dict[str, generation.Fakes]:
        counts = reference.apportion(real.class_counts(), real.num_fakes)
        task = generation.Task(
            models=models,
            labels=generation.ordered_labels(counts, seed),
            first_seed=generation.first_seed(seed),
            image_shape=real.images.shape[1:],
        )
        # In the artifact's folder, because workers elsewhere can write there too.
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, ".fakes.pickle")
        return beam_drawing.run(self._make_beam_pipeline(), task, path)


def _write(
    document: dict,
    evaluation: types.Artifact,
    blessing: types.Artifact,
    model: types.Artifact,
    baseline: types.Artifact | None,
) -> None:
    folder = pathlib.Path(evaluation.uri)
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with atomic_path(folder / EVALUATION_FILE) as path:
        path.write_text(text)
    # The Pusher gets the blessing and not the evaluation: what it needs travels with it.
    target = pathlib.Path(blessing.uri)
    target.mkdir(parents=True, exist_ok=True)
    for name in (EVALUATION_FILE, SAMPLES_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    blessed = document["blessed"]
    (target / (constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME)).touch()
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
        )
    blessing.set_string_custom_property("evaluation", evaluation.uri)
    for artifact in (evaluation, blessing):
        artifact.set_string_custom_property("reason", document["reason"])
        artifact.set_string_custom_property("protocol", document["protocol"])
        artifact.set_string_custom_property("extractor", document["extractor"]["name"])
        artifact.set_string_custom_property("extractor_digest", document["extractor"]["digest"])
        artifact.set_string_custom_property("fingerprint", document["data"]["fingerprint"])
        artifact.set_int_custom_property("num_fakes", document["num_fakes"])
        artifact.set_int_custom_property("forced", int(document["forced"]))
        if document["forced"]:
            artifact.set_string_custom_property("force_reason", document["force_reason"])
        thresholds = json.dumps(document["thresholds"], sort_keys=True)
        artifact.set_string_custom_property("thresholds", thresholds)
        artifact.set_int_custom_property("replaced", int(document["replaced"]))
        if document["replaced"]:
            artifact.set_string_custom_property("replace_reason", document["replace_reason"])
        missed = [check["name"] for check in document["checks"] if not check["passed"]]
        artifact.set_string_custom_property("missed", json.dumps(missed))
        for name, number in _numbers(document).items():
            artifact.set_float_custom_property(name, number)


def _numbers(document: dict) -> dict[str, float]:
    """What was measured, as ML Metadata takes it: an interval becomes two numbers."""
    compared = ("fid", "difference", "difference_interval")
    found = document["baseline"] or {}
    measured = {
        **document["metrics"],
        **{f"baseline_{name}": found[name] for name in compared if name in found},
    }
    numbers = {}
    for name, value in measured.items():
        ends = {"_low": value[0], "_high": value[1]} if isinstance(value, list) else {"": value}
        numbers |= {
            name + suffix: float(number)
            for suffix, number in ends.items()
            if isinstance(number, float | int)
        }
    return numbers


def _draw_samples(folder: pathlib.Path, model_dir: str) -> None:
    """Ten of each class present, if the generator can: its verdict is told elsewhere.

    For an unconditional generator, as many of whatever class comes.
    """
    try:
        generator = local_generator.Generator(model_dir)
        contract = generator.contract
        labels, seeds = local_generator.ten_of_each(contract, SAMPLES_SEED)
        images = to_uint8(generator.draw(seeds, labels))
    except ValueError as error:
        _log.warning("no sample images: %s", error)
        return
    names = []
    if contract.conditional:
        names = [local_generator.class_title(contract, c) for c in contract.classes_present]
    digit_grid(folder / SAMPLES_FILE, images, 10, row_names=names)


def read_split(examples: types.Artifact, split: str) -> Split:
    """Reads one split of an Examples artifact.

    Raises:
      ValueError: the artifact has no such split or the split is empty.
    """
    if split not in artifact_utils.decode_split_names(examples.split_names):
        raise ValueError(f"the examples have no split {split!r}, only {examples.split_names}")
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(os.path.join(folder, name) for name in fileio.listdir(folder) if ".gz" in name)
    try:
        return read_examples(files)
    except ValueError as error:
        raise ValueError(f"the split {split!r} of the examples can't be read: {error}") from None


def _contract(model_dir: str) -> GeneratorContract | None:
    try:
        return GeneratorContract.load(model_dir)
    except ContractError:
        return None


def _digest(model_dir: str) -> str | None:
    try:
        return versions.model_digest(model_dir)
    except OSError:
        return None


def _single(artifacts: list[types.Artifact] | None) -> types.Artifact | None:
    return artifact_utils.get_single_instance(artifacts) if artifacts else None


def _cache_dir(output_uri: str) -> str | None:
    """Where the reference is kept: as the runner says, else beside this node's artifacts.

    Not a parameter of the node: where something is cached must not decide whether it is judged.
    """
    if folder := os.environ.get(reference.CACHE_VARIABLE):
        return folder
    if "://" in output_uri:
        return None
    return os.path.join(os.path.dirname(os.path.dirname(output_uri)), ".reference")


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 3)
