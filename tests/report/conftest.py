"""A workspace with all that a report shows: three runs on scikit-learn's digits, made by hand."""

import json
import pathlib
import shutil

import ml_metadata as mlmd
import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from PIL import Image
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from benchmarks.lineage import make_store
from common.images import DATA_SAMPLES_FILE, VALUE_RANGE, to_floats
from common.transform_counts import VALUE_BINS
from common.workspace import Workspace
from judge import plots
from lineage.store import open_store
from report import pages
from tests.lineage.conftest import writer

CLASSES = 10
RUNS = 3


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28, 1] and labels int [N] of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = [
        np.asarray(Image.fromarray((image * 15.9).astype(np.uint8)).resize((28, 28)))
        for image in found.images[:300]
    ]
    return np.stack(images)[..., np.newaxis], found.target[:300]


FID_INTERVAL = {"relative_fid_interval_low": 1.5, "relative_fid_interval_high": 2.5}


@pytest.fixture(scope="session")
def made(tmp_path_factory, digits) -> Workspace:
    """Three complete runs; the last one pushed version FIRST_VERSION + 2. Not to be changed."""
    space = Workspace.at(tmp_path_factory.mktemp("report") / "workspace")
    space.root.mkdir()
    make_store(writer(space), RUNS, root=str(space.root))
    store = open_store(space.metadata)
    images, labels = digits
    fill = {
        "Examples": lambda folder, run: plots.digit_grid(
            folder / DATA_SAMPLES_FILE, images[:100], 10
        ),
        "ExampleAnomalies": lambda folder, run: write_anomalies(folder),
        "ExampleStatistics": lambda folder, run: write_statistics(folder, labels),
        "TransformGraph": lambda folder, run: write_counts(folder, images, labels),
        "ModelRun": lambda folder, run: write_model_run(folder, images, run),
        "ModelEvaluation": lambda folder, run: write_evaluation(folder, images, labels, run),
    }
    for artifact in store.all_artifacts.values():
        folder = pathlib.Path(artifact.uri)
        folder.mkdir(parents=True)
        if artifact.type in fill and "transformed" not in artifact.uri:
            fill[artifact.type](folder, int(folder.name))
        if artifact.pushed_version is not None:
            served = pathlib.Path(artifact.properties["pushed_destination"])
            (served / "assets.extra").mkdir(parents=True)
            (served / "saved_model.pb").write_bytes(b"a model")
            (served / "assets.extra" / "metadata.json").write_text(
                json.dumps({"model": {"classes_present": list(range(CLASSES))}})
            )
    add_details(space, labels)
    return space


@pytest.fixture
def workspace(made, tmp_path) -> Workspace:
    """The same in a copy that a test may change."""
    return Workspace.at(shutil.copytree(made.root, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def built(made) -> pathlib.Path:
    """The report on it."""
    return pages.build(made)


def add_details(space: Workspace, labels: np.ndarray) -> None:
    """What this pipeline notes beyond the synthetic store: splits, settings."""
    client = writer(space)
    [examples] = [a for a in client.get_artifacts_by_type("Examples") if "MnistEx" in a.uri]
    counts = {"train": len(labels), "eval": 30, "test": 30}
    slices = {split: f"all[0:{count}]" for split, count in counts.items()}
    for key, value in {
        "split_counts": counts,
        "split_slices": slices,
        "class_names": [str(i) for i in range(CLASSES)],
    }.items():
        examples.custom_properties[key].string_value = json.dumps(value)
    examples.custom_properties["num_classes"].int_value = CLASSES
    client.put_artifacts([examples])

    evaluations = client.get_artifacts_by_type("ModelEvaluation")
    for evaluation in evaluations:
        for key, value in FID_INTERVAL.items():
            evaluation.custom_properties[key].double_value = value
    client.put_artifacts(evaluations)


def add_spans(space: Workspace) -> None:
    """What SpanDrift measured of spans 2 and 3; DataGate read the last, with its thresholds."""
    client = writer(space)
    kind = client.put_artifact_type(pb.ArtifactType(name="components.SpanDrift"))
    gate = client.get_executions_by_type("synthetic.DataGate")[-1]
    gate.custom_properties["max_image_drift"].double_value = 0.75
    gate.custom_properties["max_label_drift"].double_value = 0.02
    client.put_executions([gate])
    for span, told in ((2, 0.6), (3, 0.96875)):
        folder = space.pipeline_root / "SpanDrift" / str(span)
        drift = pb.Artifact(type_id=kind, uri=str(folder), state=pb.Artifact.LIVE)
        texts = {"dataset": "mnist", "classes_gone": "<7>" if span == 3 else "", "classes_new": ""}
        for key, text in texts.items():
            drift.custom_properties[key].string_value = text
        numbers = {"span": span, "before": span - 1, "images": 900, "images_before": 800}
        for key, number in numbers.items():
            drift.custom_properties[key].int_value = number
        for key in ("image_chance", "label_drift", "label_chance"):
            drift.custom_properties[key].double_value = 0.015
        drift.custom_properties["image_drift"].double_value = told
        [number] = client.put_artifacts([drift])
        client.put_events([pb.Event(artifact_id=number, execution_id=gate.id, type=pb.Event.INPUT)])


def fail_last_run(space: Workspace, error: str) -> None:
    """Makes the newest run one that failed in the Trainer."""
    client: mlmd.MetadataStore = writer(space)
    run = client.get_context_by_type_and_name("pipeline_run", f"run-{RUNS - 1:05d}")
    run.custom_properties["state"].string_value = "FAILED"
    client.put_contexts([run])
    gone = []
    for execution in client.get_executions_by_context(run.id):
        node = execution.type.rpartition(".")[2]
        if node == "Trainer":
            execution.last_known_state = pb.Execution.FAILED
            execution.custom_properties["error"].string_value = error
            client.put_executions([execution])
        if node in ("Trainer", "Evaluator", "Pusher"):
            gone.append(execution.id)
    artifacts = {
        event.artifact_id
        for event in client.get_events_by_execution_ids(gone)
        if event.type == pb.Event.OUTPUT
    }
    # An event can't be taken back; an artifact without facts is as if it had not been made.
    changed = []
    for artifact in client.get_artifacts_by_id(sorted(artifacts)):
        artifact.custom_properties.clear()
        artifact.state = pb.Artifact.ABANDONED
        changed.append(artifact)
    client.put_artifacts(changed)


# --- artifacts


def write_anomalies(folder: pathlib.Path) -> None:
    for split in ("train", "eval"):
        (folder / f"Split-{split}").mkdir()
        (folder / f"Split-{split}" / "SchemaDiff.pb").write_bytes(
            anomalies_pb2.Anomalies().SerializeToString()
        )


def write_statistics(folder: pathlib.Path, labels: np.ndarray) -> None:
    """As StatisticsGen leaves them."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    feature = statistics.datasets.add().features.add()
    feature.path.step.append("label")
    for label, count in enumerate(np.bincount(labels)):
        feature.string_stats.rank_histogram.buckets.add(label=str(label), sample_count=count)
    for split in ("train", "test"):
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir()
        path.write_bytes(statistics.SerializeToString())


def write_counts(folder: pathlib.Path, images: np.ndarray, labels: np.ndarray) -> None:
    assets = folder / "transform_fn" / "assets"
    assets.mkdir(parents=True)
    lines = [f"{count} level {level}" for level, count in enumerate(np.bincount(images.ravel()))]
    lines += [f"{count} label {label}" for label, count in enumerate(np.bincount(labels))]
    floats = to_floats(images.ravel().astype(np.float32))
    values = np.histogram(floats, VALUE_BINS, VALUE_RANGE)[0]
    lines += [f"{count} value {number}" for number, count in enumerate(values)]
    (assets / "counts").write_text("\n".join(lines))


def write_model_run(folder: pathlib.Path, images: np.ndarray, run: int) -> None:
    history = [
        {"step": step, "d_loss": 1 / step + run, "g_loss": step / 50, "images_per_second": 900.0}
        for step in range(10, 101, 10)
    ]
    history[4]["d_loss"] = float("nan")
    for record in history[4::5]:
        record |= {"fid_2000_eval": 300.0 / record["step"], "g_reconstruction": 0.4}
        relative = {"": 2.0, "_low": 1.5, "_high": 2.5}
        record |= {f"relative_fid_2000_eval{end}": value for end, value in relative.items()}
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in history))
    (folder / "samples").mkdir()
    for step in (0, 50, 100):
        Image.fromarray(images[step, :, :, 0]).save(folder / "samples" / f"step_{step:07d}.png")
    layer = {"name": "project", "type": "Dense", "output_shape": [None, 784], "parameters": 50_960}
    table = {"parameters": 50_960, "trainable_parameters": 50_960, "layers": [layer]}
    (folder / "networks.json").write_text(json.dumps({"generator": table, "discriminator": table}))


def write_evaluation(
    folder: pathlib.Path, images: np.ndarray, labels: np.ndarray, run: int
) -> None:
    plots.digit_grid(folder / "samples.png", images[:100], 10)
    plots.real_above_fake(folder / "real_above_fake.png", images[:40], images[:40], columns=20)
    document = {
        "schema_version": 2,
        "blessed": True,
        "forced": False,
        "reason": "FID is low enough",
        "protocol": "fid_1k_train",
        "num_fakes": 1000,
        "num_reference": 10_000,
        "checks": [
            {"name": "relative_fid", "value": 2.5 - run, "threshold": 15.0, "passed": True,
             "sentence": "relative FID is low"},
            {"name": "recall", "value": 0.2, "threshold": 0.5, "passed": False,
             "sentence": "recall is <b>too</b> low"},
        ],
        "metrics": {"fid": 5.0 - run, "real_fid": 2.0, "relative_fid": 2.5 - run / 2,
                    "relative_fid_interval": [2.0, 3.0], "cas": 0.97,
                    "precision": 0.9, "recall": 0.8,
                    "real_precision": 0.95, "real_recall": 0.94},
        "classes": [
            {"name": str(i), "label": i, "share": 0.1, "reference_share": 0.1,
             "accuracy": 0.9 + i / 100}
            for i in range(CLASSES)
        ],
        "extractor": {"name": "mnist_classifier_penultimate", "digest": "4917" * 16},
        "seconds": {"total": 60.0},
        "baseline": None,
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(document))
