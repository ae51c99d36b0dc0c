"""Which blessed generator the new one is compared with, in real runs of a small pipeline."""

import json
import pathlib

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components import Pusher
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from components.evaluator import component
from components.evaluator.baseline import LatestOtherBlessedModelStrategy
from components.pusher import executor as pusher_executor
from judge import judge_config
from serving import versions
from tests import fixtures_generators as generators
from tests.components import artifacts, nodes


class Runs:
    """A workspace in which the small pipeline runs; tells what each run executed."""

    def __init__(self, folder: pathlib.Path, examples: standard_artifacts.Examples) -> None:
        self.folder = folder
        self.examples = examples
        self.serving = folder / "serving"
        self._seen: set[int] = set()

    def run(self, model: pathlib.Path, **evaluator) -> dict[str, str]:
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
        resolver = Resolver(
            strategy_class=LatestOtherBlessedModelStrategy,
            current=trainer.outputs["model"],
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
        ).with_id("baseline")
        judge = component.Evaluator(
            examples=data.outputs["examples"],
            model=trainer.outputs["model"],
            baseline_model=resolver.outputs["model"],
            baseline_blessing=resolver.outputs["model_blessing"],
            judge_config=judge_config.JudgeConfig(
                **{**judge_config.PRESETS["smoke"], "num_fakes": 200}
            ),
            seed=1,
            **evaluator,
        )
        pusher = Pusher(
            model=trainer.outputs["model"],
            model_blessing=judge.outputs["blessing"],
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(self.serving))
            ),
            custom_executor_spec=executor_spec.ExecutorClassSpec(pusher_executor.Executor),
        )
        database = self.folder / "metadata.sqlite"
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="small",
                pipeline_root=str(self.folder / "root"),
                components=[data, trainer, resolver, judge, pusher],
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    str(database)
                ),
            )
        )
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

    def blessings(self) -> list:
        return sorted(self.store().get_artifacts_by_type("ModelBlessing"), key=lambda a: a.id)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Examples and two Model folders with different contents."""
    folder = tmp_path_factory.mktemp("prepared")
    images, labels = artifacts.real_digits()
    data = artifacts.examples(
        folder / "examples",
        {"train": (images[:1000], labels[:1000]), "test": (images[1000:], labels[1000:])},
    )
    generators.export(folder / "first" / "Format-Serving", images[:900], labels[:900])
    generators.export(folder / "second" / "Format-Serving", images[:1000], labels[:1000])
    return folder, data


def test_the_baseline_is_the_latest_other_blessed_model_and_reruns_are_cached(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)

    first = runs.run(folder / "first")
    assert first["Evaluator"] == first["Pusher"] == "COMPLETE"
    (blessing,) = runs.blessings()
    assert blessing.custom_properties["blessed"].int_value == 1
    assert "baseline_model_id" not in blessing.custom_properties
    assert len(versions.list_versions(runs.serving)) == 1

    again = runs.run(folder / "first")
    assert {k: v for k, v in again.items() if k != "Resolver"} == {
        "GiveExamples": "CACHED",
        "GiveModel": "CACHED",
        "Evaluator": "CACHED",
        "Pusher": "CACHED",
    }

    other = runs.run(folder / "second")
    assert other["Evaluator"] == other["Pusher"] == "COMPLETE"
    latest = runs.blessings()[-1]
    first_id = blessing.custom_properties["current_model_id"].int_value
    assert latest.custom_properties["baseline_model_id"].int_value == first_id
    assert len(versions.list_versions(runs.serving)) == 2

    assert runs.run(folder / "second")["Evaluator"] == "CACHED"
    assert len(versions.list_versions(runs.serving)) == 2


def test_the_same_weights_trained_again_are_no_rival_and_are_not_pushed_again(prepared, tmp_path):
    folder, data = prepared
    runs = Runs(tmp_path, data)
    runs.run(folder / "first")
    copy = tmp_path / "copy"
    copy.symlink_to(folder / "first")
    again = runs.run(copy)
    assert again["GiveModel"] == "COMPLETE"
    assert "baseline_model_id" not in runs.blessings()[-1].custom_properties
    assert len(versions.list_versions(runs.serving)) == 1
    (pushed, repeated) = sorted(
        runs.store().get_artifacts_by_type("PushedModel"), key=lambda a: a.id
    )
    for artifact in (pushed, repeated):
        assert artifact.custom_properties["pushed"].int_value == 1
    version = pushed.custom_properties["pushed_version"].string_value
    assert repeated.custom_properties["pushed_version"].string_value == version
    assert repeated.custom_properties["new"].int_value == 0


def test_models_that_were_not_blessed_and_the_current_one_are_passed_over(tmp_path):
    def model(number: int) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.uri, artifact.id = str(tmp_path / str(number)), number
        return artifact

    def blessing(number: int, model_id: int, blessed: int) -> standard_artifacts.ModelBlessing:
        artifact = standard_artifacts.ModelBlessing()
        artifact.id = number
        artifact.set_int_custom_property("blessed", blessed)
        artifact.set_int_custom_property("current_model_id", model_id)
        return artifact

    def resolve(current, models, blessings):
        found = LatestOtherBlessedModelStrategy().resolve_artifacts(
            None, {"current": [current], "model": models, "model_blessing": blessings}
        )
        assert found["current"] == [current]
        return [m.id for m in found["model"]], [b.id for b in found["model_blessing"]]

    models = [model(i) for i in (1, 2, 3, 4)]
    judged = [blessing(11, 1, 1), blessing(12, 2, 1), blessing(13, 3, 0), blessing(14, 4, 1)]
    assert resolve(models[3], models, judged) == ([2], [12])
    # Blessed once more, later: that one is the latest.
    assert resolve(models[3], models, [*judged, blessing(15, 1, 1)]) == ([1], [15])
    assert resolve(models[0], models[:1], judged[:1]) == ([], [])
    assert resolve(models[0], models, []) == ([], [])


def blessing(kind, number: int, model: types.Artifact, blessed: int) -> types.Artifact:
    artifact = kind()
    artifact.id = number
    artifact.set_int_custom_property("blessed", blessed)
    artifact.set_int_custom_property("current_model_id", model.id)
    return artifact


@pytest.mark.parametrize(("verdicts", "chosen"), [([0], 1), ([0, 1], 2), ([1, 0], 1), ([], 2)])
def test_a_model_that_no_server_can_serve_is_no_baseline(verdicts, chosen):
    models = [standard_artifacts.Model() for _ in range(3)]
    for number, model in enumerate(models, 1):
        model.id, model.uri = number, f"/nowhere/{number}"
    judged = [blessing(standard_artifacts.ModelBlessing, 10 + m.id, m, 1) for m in models]
    served = [
        blessing(standard_artifacts.InfraBlessing, 20 + i, models[1], verdict)
        for i, verdict in enumerate(verdicts)
    ]
    inputs = {"current": models[2:], "model": models, "model_blessing": judged}
    found = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None, inputs | {"infra_blessing": served[::-1]}
    )
    assert [model.id for model in found["model"]] == [chosen]
    assert set(found) == {*inputs, "infra_blessing"}
    # Without the channel as before.
    found = LatestOtherBlessedModelStrategy().resolve_artifacts(None, inputs)
    assert [model.id for model in found["model"]] == [2]
    # Nor is it where training starts from: there is no current model then.
    del inputs["current"]
    refused = [blessing(standard_artifacts.InfraBlessing, 30, models[2], 0)]
    found = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None, inputs | {"infra_blessing": [*served, *refused]}
    )
    assert [model.id for model in found["model"]] == [chosen]
    found = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None, inputs | {"infra_blessing": served}
    )
    assert [model.id for model in found["model"]] == [3]
