"""How long the judge takes, by part, 10,000 fakes against 10,000 real images.

    python -m benchmarks.judge [--workspace DIR]

With the generator and the examples of the workspace's newest run, through the Evaluator itself,
first without and then with the reference cached.
"""

import argparse
import contextlib
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import apache_beam as beam
import numpy as np
from tfx.types import standard_artifacts

from common.images import to_uint8
from common.workspace import Workspace
from components import baseline, evaluator
from judge import generation, local_generator, reference
from judge.judge_config import JudgeConfig
from lineage.store import open_store
from metrics import frechet
from pipeline.pipeline import LOCAL_BEAM


def newest(workspace: Workspace, kind: type):
    """The newest artifact of a TFX type that the workspace holds."""
    found = open_store(workspace.metadata).artifacts_of_type(kind.TYPE_NAME)[-1]
    artifact = kind()
    artifact.set_mlmd_artifact(found.record)
    return artifact


def seconds(workspace: Workspace) -> dict[str, float]:
    """Seconds of the Evaluator by part, cold and with the reference cached, and of FID alone."""
    examples, model = (
        newest(workspace, kind) for kind in (standard_artifacts.Examples, standard_artifacts.Model)
    )
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for state in ("cold", "reference cached"):
            evaluation = standard_artifacts.ModelEvaluation()
            blessing = standard_artifacts.ModelBlessing()
            evaluation.uri, blessing.uri = (
                os.path.join(scratch, name, state) for name in ("evaluation", "blessing")
            )
            evaluator.Evaluator.test_call(
                examples=examples,
                model=model,
                evaluation=evaluation,
                blessing=blessing,
                judge_config=JudgeConfig().model_dump_json(),
                seed=0,
                beam_pipeline=beam.Pipeline(argv=list(LOCAL_BEAM)),
            )
            path = pathlib.Path(evaluation.uri, evaluator.EVALUATION_FILE)
            parts = json.loads(path.read_text())["seconds"]
            parts["without generation"] = parts["total"] - parts["generation"]
            found |= {f"{state}: {part}": value for part, value in parts.items()}
    return found | fid_seconds(examples, baseline.model_dir(model))


def fid_seconds(examples: standard_artifacts.Examples, model_dir: str) -> dict[str, float]:
    """Seconds of FID alone, 10,000 images on each side at hand."""
    real = evaluator.read_split(examples, "test")
    seeds = generation.first_seed(0) + np.arange(len(real.labels))
    fakes = to_uint8(local_generator.load(model_dir).draw(seeds, real.labels))
    found = {}
    with _timed(found, "FID alone, from images"):
        extractor = reference.load_extractors(None).classifier
        features = [extractor.features(images) for images in (real.images, fakes)]
        frechet.frechet_distance_from_features(*features)
    with _timed(found, "FID alone, from features"):
        frechet.frechet_distance_from_features(*features)
    return found


@contextlib.contextmanager
def _timed(found: dict[str, float], name: str):
    started = time.perf_counter()
    yield
    found[name] = time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--workspace", default="workspace")
    options = parser.parse_args()
    print("| what | s |\n| --- | ---: |")
    for what, value in seconds(Workspace.at(options.workspace)).items():
        print(f"| {what} | {value:.2f} |")


if __name__ == "__main__":
    main()
