"""The Pusher through `Do`: what it leaves for a server, and what it leaves when told no."""

import json
import pathlib
import shutil
import types

import numpy as np
import pytest
import yaml
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from common.contract import ContractError
from components import pusher
from components.model_card import header
from judge import local_generator
from serving import versions
from tests import fixtures_generators as generators

EVALUATION = {
    "preset": "standard",
    "protocol": "fid_10k_test",
    "extractor": {"name": "mnist_classifier", "digest": "d1"},
    "data": {"dataset": "mnist", "dataset_version": "3.0.1", "fingerprint": "f1"},
    "metrics": {"fid": 1.25, "relative_fid": 2.5},
    "blessed": True,
    "forced": False,
    "force_reason": None,
    "reason": "Blessed: relative FID is 2.5, within the threshold of 15.",
    "thresholds": {"max_relative_fid": 15},
    "checks": [
        {"name": "relative_fid", "value": 2.5, "threshold": 15, "passed": True, "sentence": "..."},
    ],
    "baseline": None,
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    labels = np.repeat(np.arange(3), 4)
    images = np.zeros((12, 28, 28, 1), np.uint8) + (labels * 80)[:, None, None, None].astype("u1")
    generators.export(folder / "Format-Serving", images, labels)
    return folder


@pytest.fixture
def push(model_dir, tmp_path):
    """Runs the executor; returns the PushedModel artifact."""
    runs = iter(range(1, 100))

    def run(
        blessed: int = 1, infra: int | None = None, tried: str | None = None, **evaluation
    ) -> standard_artifacts.PushedModel:
        number = next(runs)
        judged = {"digest": versions.model_digest(model_dir / "Format-Serving")}
        document = {**EVALUATION, "model": judged, **evaluation}
        model = standard_artifacts.Model()
        model.uri, model.id = str(model_dir), 7
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri, blessing.id = str(tmp_path / f"blessing/{number}"), 8
        blessing.set_int_custom_property("blessed", blessed)
        blessing.set_string_custom_property("reason", document["reason"])
        pathlib.Path(blessing.uri).mkdir(parents=True)
        pathlib.Path(blessing.uri, "evaluation.json").write_text(json.dumps(document))
        pathlib.Path(blessing.uri, "samples.png").write_bytes(b"an image")
        pathlib.Path(blessing.uri, "real.png").write_bytes(b"real ones")
        inputs = {"model": [model], "model_blessing": [blessing]}
        if infra is not None:
            inputs["infra_blessing"] = [standard_artifacts.InfraBlessing()]
            inputs["infra_blessing"][0].set_int_custom_property("blessed", infra)
            inputs["infra_blessing"][0].set_string_custom_property("reason", "it did not load")
            if tried is not None:
                inputs["infra_blessing"][0].set_string_custom_property("model_digest", tried)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / f"pushed_model/{number}")
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(
                base_directory=str(tmp_path / "serving/mnist_gan")
            )
        )
        pusher.Executor().Do(
            inputs,
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return run


def test_a_blessed_model_is_pushed_with_its_documents(push, model_dir, tmp_path):
    pushed = push()
    version = versions.latest(tmp_path / "serving/mnist_gan")
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property("new") == 1
    assert pushed.get_string_custom_property("pushed_version") == str(version.number)
    assert pushed.get_string_custom_property("pushed_destination") == str(version.path)
    extra = version.path / "assets.extra"
    assert (extra / "samples.png").read_bytes() == b"an image"
    assert (extra / "real.png").read_bytes() == b"real ones"
    metadata = version.metadata
    assert metadata["metrics"]["fid"] == 1.25
    assert metadata["data"]["fingerprint"] == "f1"
    assert metadata["config"] == {"steps": 1}
    assert (metadata["seed"], metadata["source_hash"]) == (3, "abc")
    assert metadata["libraries"] == {"python": "3"}
    assert metadata["mlmd"]["model_id"] == 7 and metadata["mlmd"]["model_blessing_id"] == 8
    assert metadata["mlmd"]["execution_id"] == 1
    assert metadata["blessing"]["blessed"] is True
    assert (extra / "mlmd_uuid").read_text() == metadata["mlmd"]["mlmd_uuid"]
    assert pushed.get_string_custom_property("mlmd_uuid") == metadata["mlmd"]["mlmd_uuid"]
    # What was pushed draws.
    assert local_generator.draw(version.path, [2], [0])[0, 0, 0, 0] == 160
    # The artifact keeps a copy for the time after the version is gone.
    assert versions.model_digest(pushed.uri) == versions.model_digest(model_dir / "Format-Serving")


@pytest.fixture
def card(tmp_path):
    """Reads the newest card: its YAML and its text."""

    def read() -> tuple[dict, str]:
        version = versions.latest(tmp_path / "serving/mnist_gan")
        before, header, text = (version.path / versions.CARD_FILE).read_text().split("---\n", 2)
        assert before == ""
        return yaml.safe_load(header), text

    return read


def test_the_card_tells_verdict_metrics_and_origin(push, card):
    push()
    _, text = card()
    assert text.startswith("# Generator ")
    for words in (EVALUATION["reason"], "fid_10k_test", "1.25", "mnist", "abc", "Label -1"):
        assert words in text


def test_hugging_face_reads_licence_tags_and_metrics_from_the_card(push, card):
    push(metrics={**EVALUATION["metrics"], "kid": 1e-7, "two_sample_accuracy": float("nan")})
    found, _ = card()
    assert found["license"] == "apache-2.0" and found["datasets"] == ["ylecun/mnist"]
    assert "gan" in found["tags"]
    [model] = found["model-index"]
    [result] = model["results"]
    assert model["name"].startswith("Generator ") and result["task"]["type"]
    assert result["dataset"]["type"] == result["dataset"]["name"] == "mnist"
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"fid": 1.25, "relative_fid": 2.5, "kid": 1e-7}


def test_the_licence_of_a_generator_of_other_data_is_its_users_choice():
    record = {
        "version": 1,
        "data": {"dataset": 'somebody\'s: "letters"'},
        "metrics": {"protocol": "fid_1k_test", "fid": 1e-7},
    }
    found = yaml.safe_load(header(record).strip("-\n"))
    assert found["license"] == "unknown" and "datasets" not in found
    [result] = found["model-index"][0]["results"]
    assert result["dataset"]["name"] == 'somebody\'s: "letters"'
    assert result["metrics"][0]["value"] == 1e-7


def test_the_card_of_a_smoke_run_says_so_in_its_first_line(push, card):
    push(preset="smoke")
    first = card()[1].splitlines()[0]
    assert "smoke" in first and "Not a model to use" in first


def test_a_forced_blessing_shows_on_top_of_the_card_and_in_the_metadata(push, card, tmp_path):
    push(forced=True, force_reason="demo on Friday")
    version = versions.latest(tmp_path / "serving/mnist_gan")
    assert "demo on Friday" in card()[1].splitlines()[0]
    assert version.metadata["blessing"]["forced"] is True
    assert version.metadata["blessing"]["force_reason"] == "demo on Friday"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"blessed": 0, "reason": "Not blessed: relative FID is 99."}, "relative FID is 99"),
        ({"infra": 0}, "not pushed: it did not load"),
    ],
)
def test_a_model_that_was_refused_leaves_no_trace_but_a_reason(push, tmp_path, told, why):
    pushed = push(**told)
    assert pushed.get_int_custom_property("pushed") == 0
    assert why in pushed.get_string_custom_property("reason")
    assert not (tmp_path / "serving").exists()


def test_pushing_the_same_model_again_points_at_the_version_that_has_it(push, tmp_path):
    first, second = push(), push()
    assert len(versions.list_versions(tmp_path / "serving/mnist_gan")) == 1
    assert second.get_int_custom_property("pushed") == 1
    assert second.get_int_custom_property("new") == 0
    for name in ("pushed_version", "pushed_destination", "mlmd_uuid"):
        assert second.get_string_custom_property(name) == first.get_string_custom_property(name)


def test_what_came_into_service_since_the_judgement_is_not_replaced(push, tmp_path):
    base = tmp_path / "serving/mnist_gan"
    (base / "1").mkdir(parents=True)
    (base / "1/saved_model.pb").write_bytes(b"pushed meanwhile")
    digest = versions.model_digest(base / "1")
    pushed = push(serving_base=str(base), baseline=None)
    assert pushed.get_int_custom_property("pushed") == 0
    assert "version 1 is in service since" in pushed.get_string_custom_property("reason")
    assert [version.number for version in versions.list_versions(base)] == [1]
    pushed = push(serving_base=str(base), baseline={"digest": digest, "version": 1})
    assert pushed.get_int_custom_property("pushed") == 1
    # Pushing once more compares with what lies beneath it.
    pushed = push(serving_base=str(base), baseline={"digest": digest, "version": 1})
    assert pushed.get_int_custom_property("new") == 0


def test_a_copy_for_the_history_that_can_not_be_made_does_not_undo_the_push(
    push, tmp_path, monkeypatch
):
    def fail(source, target, **_):
        pathlib.Path(target, "variables").mkdir(parents=True)
        pathlib.Path(target, "saved_model.pb").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        pusher, "shutil", types.SimpleNamespace(copytree=fail, rmtree=shutil.rmtree)
    )
    pushed = push()
    assert pushed.get_int_custom_property("pushed") == 1
    assert list(pathlib.Path(pushed.uri).iterdir()) == []
    assert len(versions.list_versions(tmp_path / "serving" / "mnist_gan")) == 1


def test_a_model_that_was_rolled_back_is_not_pushed_again(push, tmp_path):
    first = push()
    base = tmp_path / "serving/mnist_gan"
    (base / "1").mkdir()
    (base / "1/saved_model.pb").write_bytes(b"an older model, to go back to")
    versions.roll_back(base)
    again = push()
    assert again.get_int_custom_property("pushed") == 0
    number = first.get_string_custom_property("pushed_version")
    reason = again.get_string_custom_property("reason")
    assert f"version {number} holds this model and was rolled back" in reason
    assert f"mnist-gan versions restore {number}" in reason
    assert [version.number for version in versions.list_versions(base)] == [1]


def test_a_model_that_was_altered_after_it_was_judged_is_not_pushed(push, model_dir, tmp_path):
    with pytest.raises(versions.PublishError, match="not the one that was judged") as error:
        push(model={"digest": "0" * 64})
    advice = "Nothing was pushed; `mnist-gan run --from Trainer` trains it again"
    assert str(error.value).endswith(advice)
    with pytest.raises(versions.PublishError, match="not the one that was judged"):
        push(model={})
    assert versions.list_versions(tmp_path / "serving/mnist_gan") == []


def test_a_model_that_was_altered_after_a_server_served_it_is_not_pushed(push, tmp_path):
    with pytest.raises(versions.PublishError, match="not the one that was tried on a server"):
        push(infra=1, tried="0" * 64)
    assert versions.list_versions(tmp_path / "serving/mnist_gan") == []


def test_without_an_evaluation_nothing_is_pushed(push, tmp_path, monkeypatch):
    monkeypatch.setattr(pusher, "EVALUATION_FILE", "absent.json")
    with pytest.raises(versions.PublishError, match="beside the blessing"):
        push()
    monkeypatch.setattr(pusher, "EVALUATION_FILE", "samples.png")  # no JSON
    with pytest.raises(versions.PublishError, match=r"is damaged.*judges the model again"):
        push()
    assert versions.list_versions(tmp_path / "serving/mnist_gan") == []


def test_a_model_without_a_contract_is_refused(push, model_dir, tmp_path):
    contract = model_dir / "Format-Serving/assets.extra/generator.json"
    content = contract.read_text()
    contract.unlink()
    try:
        with pytest.raises(ContractError, match="not exported by this project"):
            push()
    finally:
        contract.write_text(content)
    assert not (tmp_path / "serving").exists()
