"""How long the judge takes, and how much memory a million fakes need.

    python -m benchmarks.judge [--workspace DIR]            # seconds, 10,000 against 10,000
    python -m benchmarks.judge [--workspace DIR] --count N  # memory, to draw and tally N fakes

Both use the generator and the examples of the workspace's newest run, and the Evaluator's own code:
its executor, and its Beam pass over the seeds in a process of its own whose peak memory is taken.
The pipeline itself never draws more fakes than the train split has images.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import apache_beam as beam
import numpy as np
from tfx.types import standard_artifacts

from common.workspace import Workspace
from components.evaluator import beam_drawing, executor
from judge import generation, local_generator, reference
from judge.judge_config import JudgeConfig
from lineage import store
from metrics import frechet
from pipeline.pipeline import LOCAL_BEAM


def newest(workspace: Workspace, kind: type):
    """The newest artifact of a TFX type that the workspace holds."""
    connection = store.connect(workspace.metadata)
    found = max(connection.get_artifacts_by_type(kind.TYPE_NAME), key=lambda a: a.id)
    artifact = kind()
    artifact.set_mlmd_artifact(found)
    return artifact


def seconds(workspace: Workspace) -> dict[str, float]:
    """Seconds of the Evaluator by part, cold and with the reference cached, and of FID alone."""
    examples, model = (
        newest(workspace, kind) for kind in (standard_artifacts.Examples, standard_artifacts.Model)
    )
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[reference.CACHE_VARIABLE] = os.path.join(scratch, "cache")
        for state in ("cold", "reference cached"):
            evaluation = standard_artifacts.ModelEvaluation()
            blessing = standard_artifacts.ModelBlessing()
            evaluation.uri, blessing.uri = (
                os.path.join(scratch, state, name) for name in ("evaluation", "blessing")
            )
            executor.Executor(
                executor.Executor.Context(
                    beam_pipeline_args=list(LOCAL_BEAM), tmp_dir=scratch, unique_id="1"
                )
            ).Do(
                {"examples": [examples], "model": [model]},
                {"evaluation": [evaluation], "blessing": [blessing]},
                {"judge_config": JudgeConfig().model_dump_json(), "seed": 0},
            )
            path = pathlib.Path(evaluation.uri, executor.EVALUATION_FILE)
            parts = json.loads(path.read_text())["seconds"]
            parts["without generation"] = parts["total"] - parts["generation"]
            found |= {f"{state}: {part}": value for part, value in parts.items()}
    return found | fid_seconds(examples, executor._model_dir(model))


def fid_seconds(examples: standard_artifacts.Examples, model_dir: str) -> dict[str, float]:
    """Seconds of FID alone, 10,000 images on each side at hand."""
    real = executor.read_split(examples, "test")
    seeds = generation.first_seed(0) + np.arange(len(real.labels))
    fakes = executor.to_uint8(local_generator.load(model_dir).draw(seeds, real.labels))
    found = {}
    with _timed(found, "FID alone, from images"):
        extractor = generation.extractors(None)[0]
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


def draw_and_tally(workspace: Workspace, count: int) -> dict:
    """Draws and tallies `count` fakes as the Evaluator does: `fid`, `fakes`, `seconds`."""
    examples, model = (
        newest(workspace, kind) for kind in (standard_artifacts.Examples, standard_artifacts.Model)
    )
    data = executor._dataset(examples)
    real = executor.read_split(examples, "test")
    counts = reference.apportion(np.bincount(real.labels, minlength=data.num_classes), count)
    task = generation.Task(
        models={"model": executor._model_dir(model)},
        extractor=None,
        labels=generation.ordered_labels(counts, 0),
        first_seed=generation.first_seed(0),
        image_shape=real.images.shape[1:],
        num_classes=data.num_classes,
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "fakes.pickle")
        options = beam.options.pipeline_options.PipelineOptions(list(LOCAL_BEAM))
        beam_drawing.run(beam.Pipeline(options=options), task, path)
        total = beam_drawing.read(path)["model"].total
    took = time.monotonic() - started
    features = generation.extractors(None)[0].features(real.images)
    fid = frechet.frechet_distance_between(total.moments, frechet.FeatureStats.of(features))
    return {"fakes": total.kept, "fid": fid, "seconds": took}


def in_its_own_process(workspace: Workspace, count: int) -> dict:
    """`draw_and_tally` with `peak`, the highest memory in GiB of its process and their children."""
    command = [sys.executable, "-m", "benchmarks.judge", "--workspace", str(workspace.root)]
    command += ["--count", str(count), "--here"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"drawing {count:,} fakes failed")
    return json.loads(answer.splitlines()[-1]) | {"peak": usage.ru_maxrss / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--count", type=int, nargs="+", help="draw so many fakes and take memory")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    workspace = Workspace.at(options.workspace)
    if options.here:
        print(json.dumps(draw_and_tally(workspace, options.count[0])))
    elif options.count:
        print("| fakes | s | peak memory, GiB | FID |\n| ---: | ---: | ---: | ---: |")
        for count in options.count:
            row = in_its_own_process(workspace, count)
            print(
                f"| {row['fakes']:,} | {row['seconds']:.0f} | {row['peak']:.2f} "
                f"| {row['fid']:.4f} |",
                flush=True,
            )
    else:
        print("| what | s |\n| --- | ---: |")
        for what, value in seconds(workspace).items():
            print(f"| {what} | {value:.2f} |")


if __name__ == "__main__":
    main()
