"""Which generator the new one is compared with and may replace, in runs of a small pipeline."""

import contextlib
import json
import pathlib
import shutil

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.components import Pusher
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from components import artifact_types
from components import evaluator as judge_node
from components import pusher as pusher_node
from components.baseline import Baseline, model_digest
from judge import judge_config
from lineage.store import value_of
from metrics import two_sample
from pipeline import cache
from serving import versions
from tests import fixtures_generators as generators
from tests.components import artifacts, nodes


class Runs:
    """A workspace in which the small pipeline runs; tells what each run executed."""

    def __init__(
        self, folder: pathlib.Path, examples: standard_artifacts.Examples, exact: bool = True
    ) -> None:
        """With the pipeline's own cache where `exact`, else with TFX's."""
        self.exact = exact
        self.folder = folder
        self.examples = examples
        self.serving = folder / "serving"
        self._seen: set[int] = set()

    def run(self, model: pathlib.Path, settings: dict | None = None, **evaluator) -> dict[str, str]:
        """Runs the pipeline on a Model folder; returns node to state, "COMPLETE" or "CACHED"."""
        properties = {
            key: value
            for key in ("dataset", "dataset_version", "fingerprint", "class_names")
            if (value := self.examples.get_string_custom_property(key))
        } | {"num_classes": 10}
        data = nodes.GiveExamples(
            folder=self.examples.uri,
            split_names=self.examples.split_names,
            properties=json.dumps(properties),
        )
        trainer = nodes.GiveModel(folder=str(model))
        baseline = Baseline(
            candidate=trainer.outputs["model"],
            serving_base=str(self.serving),
            run=RuntimeParameter(PIPELINE_RUN_ID_PARAMETER_NAME, str),
        )
        judge = judge_node.Evaluator(
            examples=data.outputs["examples"],
            model=trainer.outputs["model"],
            in_service=baseline.outputs["in_service"],
            judge_config=judge_config.JudgeConfig(
                **{**judge_config.PRESETS["smoke"], "num_fakes": 200, **(settings or {})}
            ).model_dump_json(),
            seed=1,
            serving_base=str(self.serving),
            **evaluator,
        )
        pusher = Pusher(
            model=trainer.outputs["model"],
            model_blessing=judge.outputs["blessing"],
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(self.serving))
            ),
            custom_executor_spec=executor_spec.ExecutorClassSpec(pusher_node.Executor),
        )
        database = self.folder / "metadata.sqlite"
        small = pipeline.Pipeline(
            pipeline_name="small",
            pipeline_root=str(self.folder / "pipeline_root"),
            components=[data, trainer, baseline, judge, pusher],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(database)),
        )
        with cache.exact(self.folder) if self.exact else contextlib.nullcontext():
            LocalDagRunner().run(small)
        return self._new_executions()

    def store(self) -> metadata_store.MetadataStore:
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(self.folder / "metadata.sqlite")
        return metadata_store.MetadataStore(connection)

    def _new_executions(self) -> dict[str, str]:
        store = self.store()
        kinds = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
        new = [e for e in store.get_executions() if e.id not in self._seen]
        self._seen |= {e.id for e in new}
        states = metadata_store_pb2.Execution.State
        return {kinds[e.type_id]: states.Name(e.last_known_state) for e in new}

    def facts(self, kind: str, number: int = -1) -> dict:
        """Custom properties of an artifact of a type, by default the newest."""
        found = sorted(self.store().get_artifacts_by_type(kind), key=lambda a: a.id)[number]
        return {k: value_of(v) for k, v in found.custom_properties.items()}

    def path(self, number: int) -> str:
        """The folder of a version, by its place in the order."""
        return str(self.serving / str(self.served()[number]))

    def served(self) -> list[int]:
        return [version.number for version in versions.list_versions(self.serving)]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def only_what_decides(monkeypatch, cache_dir):
    """No images, one reference for all tests, and a two-sample classifier that hardly trains."""
    monkeypatch.setattr(two_sample, "FEWEST_STEPS", 10)
    monkeypatch.setattr(judge_node, "cache_dir", lambda uri: str(cache_dir))
    monkeypatch.setattr(judge_node.sheets, "draw", lambda *a, **k: None)
    monkeypatch.setattr(judge_node, "_draw_samples", lambda *a: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Examples and three Model folders with different contents."""
    folder = tmp_path_factory.mktemp("prepared")
    images, labels = artifacts.real_digits()
    data = artifacts.examples(
        folder / "examples",
        {"train": (images[:1000], labels[:1000]), "test": (images[1000:], labels[1000:])},
    )
    generators.export(folder / "first" / "Format-Serving", images[:900], labels[:900])
    generators.export(folder / "second" / "Format-Serving", images[:1000], labels[:1000])
    generators.export(folder / "third" / "Format-Serving", images[:950], labels[:950])
    return folder, data


def test_the_baseline_is_the_other_version_in_service_and_reruns_are_cached(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)

    first = runs.run(folder / "first")
    assert first["Evaluator"] == first["Pusher"] == "COMPLETE"
    blessing = runs.facts("ModelBlessing")
    assert blessing["blessed"] == 1 and "baseline_model" not in blessing
    assert len(runs.served()) == 1

    again = runs.run(folder / "first")
    assert again == {
        "GiveExamples": "CACHED",
        "Baseline": "COMPLETE",
        "GiveModel": "CACHED",
        "Evaluator": "CACHED",
        "Pusher": "CACHED",
    }

    other = runs.run(folder / "second")
    assert other["Evaluator"] == other["Pusher"] == "COMPLETE"
    assert runs.facts("ModelBlessing")["baseline_model"] == runs.path(0)
    assert len(runs.served()) == 2

    assert runs.run(folder / "second")["Evaluator"] == "CACHED"
    assert len(runs.served()) == 2

    # The first one again: what is in service now is the second.
    assert runs.run(folder / "first")["Evaluator"] == "COMPLETE"
    assert runs.facts("ModelBlessing")["baseline_model"] == runs.path(1)

    # After a rollback it is what servers went back to.
    versions.roll_back(runs.serving)
    runs.run(folder / "third")
    assert runs.facts("ModelBlessing")["baseline_model"] == runs.path(0)


def test_no_runner_s_cache_hides_what_came_into_service(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data, exact=False)
    runs.run(folder / "first")
    shutil.copytree(folder / "second" / "Format-Serving", runs.serving / "9999999999")
    assert runs.run(folder / "first")["Evaluator"] == "COMPLETE"
    assert runs.facts("ModelBlessing")["baseline_model"] == runs.path(1)


def test_what_was_judged_less_strictly_never_replaces_and_replace_overrules_it(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    runs.run(folder / "first", {"strictness": "standard"}, force_bless="to have one")
    (number,) = runs.served()

    refused = runs.run(folder / "second")
    assert refused["Evaluator"] == refused["Pusher"] == "COMPLETE"
    assert runs.served() == [number]
    reason = runs.facts("PushedModel")["reason"]
    assert f"judged less strictly than version {number} in service" in reason
    assert "thresholds of smoke, not those of standard" in reason and "--replace" in reason
    assert json.loads(runs.facts("ModelEvaluation")["missed"]) == ["as_strict"]

    # Nor does a reason to force help.
    runs.run(folder / "second", force_bless="it is mine")
    assert runs.served() == [number]

    runs.run(folder / "second", replace="demo on Friday")
    assert len(runs.served()) == 2
    for kind in ("ModelEvaluation", "ModelBlessing"):
        facts = runs.facts(kind)
        assert facts["replaced"] == 1 and facts["replace_reason"] == "demo on Friday"
        assert facts["forced"] == 0
    newest = versions.latest(runs.serving)
    assert newest.metadata["blessing"]["replace_reason"] == "demo on Friday"
    card = (newest.path / versions.CARD_FILE).read_text().split("---\n")[2].splitlines()[0]
    assert f"Replaced version {number}" in card and "demo on Friday" in card


def test_a_version_that_ml_metadata_does_not_know_is_compared_with_all_the_same(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    shutil.copytree(folder / "first" / "Format-Serving", runs.serving / "7")
    runs.run(folder / "second", replace="it says not how it was judged")
    blessing = runs.facts("ModelBlessing")
    assert blessing["baseline_model"] == str(runs.serving / "7")
    assert "does not say how strictly" in blessing["reason"]
    assert len(runs.served()) == 2
    assert runs.run(folder / "second", replace="it says not how it was judged")["Evaluator"] == (
        "CACHED"
    )


def test_a_version_in_service_that_draws_nothing_is_not_replaced_unasked(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    (runs.serving / "7").mkdir(parents=True)
    (runs.serving / "7" / "saved_model.pb").write_bytes(b"no model")
    runs.run(folder / "second")
    assert runs.served() == [7]
    assert "version 7 in service could not be judged" in runs.facts("PushedModel")["reason"]


def test_a_version_that_was_altered_is_not_compared_with_and_not_replaced_unasked(
    prepared, tmp_path
):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    served = runs.serving / "7"
    shutil.copytree(folder / "first" / "Format-Serving", served)
    (served / "assets.extra" / "metadata.json").write_text(
        json.dumps({"model": {"digest": versions.model_digest(served)}})
    )
    graph_file = served / "saved_model.pb"
    graph_file.write_bytes(graph_file.read_bytes() + b"\n\0")  # TensorFlow would load it
    runs.run(folder / "second")
    assert runs.served() == [7]
    reason = runs.facts("PushedModel")["reason"]
    assert "its files are not those that were pushed" in reason and str(served) in reason


def test_the_same_weights_trained_again_are_no_rival_and_are_not_pushed_again(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    runs.run(folder / "first")
    copy = tmp_path / "copy"
    copy.symlink_to(folder / "first")
    again = runs.run(copy)
    assert again["GiveModel"] == "COMPLETE"
    assert "baseline_model" not in runs.facts("ModelBlessing")
    assert len(runs.served()) == 1
    pushed, repeated = runs.facts("PushedModel", 0), runs.facts("PushedModel", 1)
    assert pushed["pushed"] == repeated["pushed"] == 1
    assert repeated["pushed_version"] == pushed["pushed_version"]
    assert repeated["new"] == 0


def test_nothing_in_service_is_no_baseline(tmp_path):
    current = standard_artifacts.Model()
    current.uri = str(tmp_path / "model")
    (tmp_path / "serving" / "3").mkdir(parents=True)  # no SavedModel, so no server loads it
    for name in ("nowhere", "serving"):
        found = artifact_types.InService()
        found.uri = str(tmp_path / "found")
        base = str(tmp_path / name)
        Baseline.test_call(candidate=current, in_service=found, serving_base=base, run="1")
        assert not found.mlmd_artifact.custom_properties
    assert model_digest(current) is None
