"""The Evaluator, from artifacts to artifacts; what it decides is in `judge/assess.py`."""

import contextlib
import functools
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from PIL import Image
from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact, standard_artifacts

from common.contract import REAL_FILE, ContractError, GeneratorContract
from common.files import atomic_path
from common.images import tile, to_uint8
from components import artifact_types, beam_drawing, dataset_properties, properties
from components.baseline import model_digest, model_dir
from components.reading import cache_dir, read_split
from judge import (
    assess,
    generation,
    held_out,
    local_generator,
    measure,
    reference,
    replacement,
    sheets,
)
from judge.judge_config import JudgeConfig
from judge.plots import digit_grid
from serving import versions

EVALUATION_FILE = "evaluation.json"
SAMPLES_FILE = "samples.png"
REAL_SAMPLES_FILE = pathlib.Path(REAL_FILE).name
SAMPLES_A_CLASS = 10
SAMPLES_SEED = 0

_log = logging.getLogger(__name__)


@component(use_beam=True)
def Evaluator(
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    judge_config: Parameter[str],
    seed: Parameter[int],
    in_service: InputArtifact[artifact_types.InService] = None,
    extractors: InputArtifact[artifact_types.FeatureExtractors] = None,
    preset: Parameter[str] = "",
    serving_base: Parameter[str] = "",
    extractor_digest: Parameter[str] = "",
    force_bless: Parameter[str] = "",
    replace: Parameter[str] = "",
    source_hash: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Draws digits from the exported generator, measures them against real ones, decides.

    A generator that can't be read or does not keep its contract is judged "not blessed"; data or
    an extractor that can't be read is an error.

    Args:
      examples: Examples with the splits `train`, `eval` and `test`.
      model: the Trainer's.
      evaluation: gets `evaluation.json` (docs/reference/evaluation.md) and images.
      blessing: keeps TFX's contract, so TFX's own Pusher and `LatestBlessedModelStrategy`
        understand it.
      judge_config: a JudgeConfig as JSON: what to measure and which thresholds.
      seed: where the latents come from; candidate and baseline get the same.
      in_service: the Baseline's. The version that it names is drawn and judged again, by the
        candidate's protocol.
      extractors: the FeatureExtractor's, of data that none are pinned for.
      preset: name of the settings, for the record.
      serving_base: the folder of versions that the Pusher pushes to: the version in service there
        must not be replaced by what was judged less strictly or on other data. "" asks for no more
        than the comparison with what `in_service` names.
      extractor_digest: of the feature extractors' weights, so that other weights judge again.
      force_bless: a reason to bless the model though it misses a threshold; "" is the rule.
      replace: a reason to bless it though the version in service is better, was judged more
        strictly or on other data; "" is the rule.
      source_hash: of the code that runs.
      beam_pipeline: draws the fakes.

    Raises:
      ValueError: the examples lack a split, or the extractor can't be loaded.
    """
    started = time.monotonic()
    config = JudgeConfig.model_validate_json(judge_config)
    candidate = model_dir(model)
    seconds: dict[str, float] = {}

    data, read = dataset_properties.read(examples), functools.partial(read_split, examples)
    networks = reference.load_extractors(extractors.uri if extractors else None)
    cache = cache_dir(evaluation.uri)
    with _timed(seconds, "reference"):
        real = reference.load(data, read, networks, config.num_fakes, cache)
        scores = held_out.scores(data, read, networks, config, cache)
    models, baseline_facts, gate = {"model": candidate}, None, []
    if in_service is not None and (path := in_service.get_string_custom_property("served_path")):
        models["baseline"], baseline_facts = path, {"uri": path}
    digest = model_digest(model)
    if serving_base:
        models, baseline_facts = {"model": candidate}, None
        if found := versions.in_service(serving_base, other_than=digest):
            served, served_digest = found
            baseline_facts = {
                "uri": str(served.path),
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
        fakes = _draw(beam_pipeline, real, models, seed, evaluation.uri)
    contract = _contract(candidate)
    conditional = contract is None or contract.conditional
    cas = None
    # Without labels there is nothing to train a classifier on.
    if config.cas_fakes and conditional and len(fakes["model"].images):
        with _timed(seconds, "cas"):
            cas = measure.classification_score(
                lambda seeds, asked: local_generator.load(candidate).draw(seeds, asked),
                real,
                config.cas_fakes,
                seed,
            )
    with _timed(seconds, "measuring"):
        document, measured = assess.judge(
            real,
            fakes["model"],
            config,
            networks,
            scores,
            conditional=conditional,
            baseline=fakes.get("baseline"),
            baseline_facts=baseline_facts,
            cas=cas,
            gate=gate,
            force=force_bless,
            replace=replace,
        )
    folder = pathlib.Path(evaluation.uri)
    with _timed(seconds, "images"):
        sheets.draw(folder, real, fakes["model"], measured)
        _draw_samples(folder, candidate)
        _draw_real(folder, real)
    document |= {
        "preset": preset or None,
        "seed": seed,
        "first_seed": generation.first_seed(seed),
        # What `baseline` was in service of; the Pusher looks whether it still is.
        "serving_base": serving_base or None,
        "model": {"uri": model.uri, "id": model.id, "digest": digest},
        "seconds": seconds | {"total": time.monotonic() - started},
    }
    _write(document, evaluation, blessing, model)
    _log.info("%s", document["reason"])


def _draw(
    pipeline: beam.Pipeline,
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
    return beam_drawing.run(pipeline, task, path)


def _write(
    document: dict,
    evaluation: artifact.Artifact,
    blessing: artifact.Artifact,
    model: artifact.Artifact,
) -> None:
    folder = pathlib.Path(evaluation.uri)
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with atomic_path(folder / EVALUATION_FILE) as path:
        path.write_text(text)
    # The Pusher gets the blessing and not the evaluation: what it needs travels with it.
    target = pathlib.Path(blessing.uri)
    target.mkdir(parents=True, exist_ok=True)
    for name in (EVALUATION_FILE, SAMPLES_FILE, REAL_SAMPLES_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    blessed = document["blessed"]
    (target / (constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME)).touch()
    facts = {
        constants.ARTIFACT_PROPERTY_BLESSED_KEY: blessed,
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY: model.uri,
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY: model.id,
        "evaluation": evaluation.uri,
    }
    if document["baseline"]:
        facts[constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY] = document["baseline"]["uri"]
    properties.note(blessing, facts)
    missed = [check["name"] for check in document["checks"] if not check["passed"]]
    facts = {name: document[name] for name in ("reason", "protocol", "num_fakes")}
    facts |= {
        "extractor": document["extractor"]["name"],
        "extractor_digest": document["extractor"]["digest"],
        "fingerprint": document["data"]["fingerprint"],
        "thresholds": json.dumps(document["thresholds"], sort_keys=True),
        "missed": json.dumps(missed),
        "forced": document["forced"],
        "replaced": document["replaced"],
        **({"force_reason": document["force_reason"]} if document["forced"] else {}),
        **({"replace_reason": document["replace_reason"]} if document["replaced"] else {}),
        **_numbers(document),
    }
    for output in (evaluation, blessing):
        properties.note(output, facts)


def _numbers(document: dict) -> dict[str, float]:
    """What was measured, as ML Metadata takes it: an interval becomes two numbers."""
    compared = ("fid", "difference", "difference_interval")
    found = document["baseline"] or {}
    measured = {
        **document["metrics"],
        **{f"baseline_{name}": found[name] for name in compared if name in found},
    }
    numbers: dict[str, float] = {}
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
        labels, seeds = contract.ten_of_each(SAMPLES_SEED)
        images = to_uint8(generator.draw(np.asarray(seeds), np.asarray(labels)))
    except ValueError as error:
        _log.warning("no sample images: %s", error)
        return
    names = []
    if contract.conditional:
        names = [local_generator.class_title(contract, c) for c in contract.classes_present]
    digit_grid(folder / SAMPLES_FILE, images, 10, row_names=names)


def _draw_real(folder: pathlib.Path, real: reference.Reference) -> None:
    """Ten images of the test split of each class in it, for people to compare with.

    One row per class, in label order; where a class has fewer than ten they come again.
    """
    picked = [
        np.resize(np.flatnonzero(real.labels == label), SAMPLES_A_CLASS)
        for label in np.unique(real.labels)
    ]
    sheet = tile(real.images[np.concatenate(picked)], SAMPLES_A_CLASS, scale=1)
    Image.fromarray(sheet).save(folder / REAL_SAMPLES_FILE)


def _contract(model_dir: str) -> GeneratorContract | None:
    try:
        return GeneratorContract.load(model_dir)
    except ContractError:
        return None


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 3)
