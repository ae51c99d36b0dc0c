"""`mnist-gan versions`: what is told, what is refused, and that a running server follows."""

import json
import os

import pytest
from click.testing import CliRunner

from pipeline import cli
from serving.client import GeneratorClient
from tests.conftest import without_tensorflow
from tests.serving.server.conftest import digits, eventually, push, start  # noqa: F401
from tests.serving.test_versions import make_model


@pytest.fixture
def workspace(tmp_path):
    """A workspace with versions 1, 2 and 3; the newest has documents."""
    root = tmp_path / "workspace"
    base = root / "serving" / "mnist_gan"
    for number in (1, 2, 3):
        make_model(base / str(number), str(number).encode())
    documents = {
        "pushed_at": "2026-11-22T02:08:00Z",
        "metrics": {"fid": 0.34449, "relative_fid": 2.0987},
        "blessing": {"blessed": True, "forced": True},
        "mlmd": {"pipeline_run_id": "run-7"},
    }
    (base / "3" / "assets.extra" / "metadata.json").write_text(json.dumps(documents))
    return root


def call(workspace, *arguments: str, code: int = 0) -> str:
    """Standard output of `mnist-gan versions ...`; both outputs where it failed."""
    result = CliRunner().invoke(cli.main, ["versions", *arguments, "--workspace", str(workspace)])
    assert result.exit_code == code, (result.stdout, result.stderr)
    return result.stdout + (result.stderr if code else "")


def test_the_list_shows_number_verdict_labels_and_which_is_served(workspace):
    call(workspace, "label", "stable", "2")
    lines = call(workspace, "list").splitlines()
    newest = lines[1].split()
    assert newest == ["▶", "3", "2026-11-22", "02:08", "2.099", "by", "force", "run-7"]
    assert lines[2].split() == ["2", "stable"]
    assert lines[3].split() == ["1"]


def test_another_model_is_chosen_by_its_name_and_the_default_is_the_one_pushed_to_last(workspace):
    make_model(workspace / "serving" / "digits_gan" / "7", b"digits")
    document = json.loads(call(workspace, "list", "--json"))
    assert document["model"] == "digits_gan" and len(document["versions"]) == 1
    result = CliRunner().invoke(cli.main, ["versions", "list", "--workspace", str(workspace)])
    assert "--model shows others: mnist_gan" in result.stderr
    assert (
        len(json.loads(call(workspace, "list", "--model", "mnist_gan", "--json"))["versions"]) == 3
    )
    call(workspace, "rollback", "--model", "mnist_gan")
    assert (workspace / "serving/mnist_gan/3.rolled_back").is_dir()
    refused = call(workspace, "list", "--model", "fashion_gan", code=2)
    assert "no model 'fashion_gan'" in refused and "digits_gan, mnist_gan" in refused


def test_the_list_as_json_has_every_version(workspace):
    call(workspace, "label", "stable", "2")
    call(workspace, "rollback")
    document = json.loads(call(workspace, "list", "--json"))
    assert document["labels"] == {"stable": 2}
    rows = {row["version"]: row for row in document["versions"]}
    assert list(rows) == [3, 2, 1]
    assert rows[3]["rolled_back"] and rows[3]["forced"] and rows[3]["run"] == "run-7"
    assert [number for number, row in rows.items() if row["current"]] == [2]


def test_a_rollback_says_what_is_served_now_and_how_to_undo_it(workspace):
    told = call(workspace, "rollback")
    assert "version 3 is out of service; servers go back to 2" in told
    assert "mnist-gan versions restore 3" in told
    assert "3 (rolled back)" in call(workspace, "list")
    assert "version 3 is in service again and the newest" in call(workspace, "restore", "3")
    assert "versions 2, 3 are out of service; servers go back to 1" in call(
        workspace, "rollback", "--to", "1"
    )


def test_a_label_of_a_version_that_was_rolled_back_is_named_with_its_remedy(workspace):
    call(workspace, "label", "canary", "3")
    told = call(workspace, "rollback")
    assert "label canary points at version 3, which is not in service" in told
    assert "mnist-gan versions label canary 2" in told
    assert json.loads(call(workspace, "label", "canary", "2", "--json")) == {
        "current": 2,
        "labels": {"canary": 2},
        "dangling_labels": [],
        "canary": None,
    }
    assert "canary points" not in call(workspace, "list")


def test_a_label_can_be_moved_and_removed(workspace):
    assert "label stable points at version 1" in call(workspace, "label", "stable", "1")
    call(workspace, "label", "stable", "2")
    assert json.loads(call(workspace, "list", "--json"))["labels"] == {"stable": 2}
    assert "label stable is removed" in call(workspace, "label", "stable", "--remove")
    assert not (workspace / "serving/mnist_gan/models.config").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "stable", "9"], "version 9 is not under"),
        (["label", "a/b", "1"], "'a/b' is no label"),
        (["label", "stable"], "give a VERSION, or --remove"),
        (["label", "stable", "1", "--remove"], "give a VERSION, or --remove"),
        (["label", "stable", "--remove"], "there is no label 'stable'"),
        (["rollback", "--to", "9"], "there is no version 9; there are 1, 2, 3"),
        (["restore", "2"], "version 2 was not rolled back"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_message(workspace, arguments, words):
    before = sorted(os.listdir(workspace / "serving/mnist_gan"))
    assert words in call(workspace, *arguments, code=2)
    assert sorted(os.listdir(workspace / "serving/mnist_gan")) == before


def test_the_only_version_stays(workspace):
    call(workspace, "rollback", "--to", "1")
    assert "version 1 is the only one" in call(workspace, "rollback", code=2)


def test_a_models_config_that_is_none_is_told(workspace):
    (workspace / "serving/mnist_gan/models.config").write_text("model_config_list {")
    assert "Invalid protobuf file" in call(workspace, "list", code=2)


def test_without_versions_the_list_says_what_to_do(tmp_path):
    assert "mnist-gan run" in call(tmp_path, "list", code=2)
    assert "there is no version" in call(tmp_path, "rollback", code=2)


@pytest.mark.parametrize("command", ["list", "label stable 1", "rollback", "restore 3"])
def test_versions_import_neither_tensorflow_nor_tfx(workspace, command):
    if command.startswith("restore"):
        call(workspace, "rollback")
    result = without_tensorflow("versions", *command.split(), "--workspace", str(workspace))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_running_server_follows_rollback_and_restore(tmp_path, digits, start):  # noqa: F811
    base = tmp_path / "serving" / "mnist_gan"
    base.mkdir(parents=True)
    push(digits, base, 1)
    push(digits, base, 2)
    running = start(base, "--model_name=mnist_gan", watch_labels=True)

    def level() -> float:
        with GeneratorClient(running.url, retries=0) as client:
            return round(float(client.generate([1], [9])[0, 0, 0, 0]), 3)

    assert level() == 0.2
    call(tmp_path, "rollback")
    eventually(lambda: level() == 0.1)
    call(tmp_path, "restore", "2")
    eventually(lambda: level() == 0.2)


def test_a_canary_is_promoted(workspace):
    told = call(workspace, "canary", "3", "--share", "20")
    assert "version 3 gets 20 % of the requests, version 2 the others" in told
    assert "version 3 gets 20 % of the requests" in call(workspace, "list")
    state = json.loads(call(workspace, "list", "--json"))
    assert state["labels"] == {"stable": 2, "canary": 3}
    assert state["canary"] == {"version": 3, "stable": 2, "share": 20, "aborted": ""}
    state = json.loads(call(workspace, "promote", "--json"))
    assert state["labels"] == {"stable": 3}
    assert state["canary"] is None


def test_a_canary_is_aborted_and_goes_out_of_service(workspace):
    call(workspace, "canary", "3")
    told = call(workspace, "abort")
    assert "version 3 is out of service; 2 gets all requests" in told
    state = json.loads(call(workspace, "list", "--json"))
    assert state["labels"] == {"stable": 2}
    assert state["canary"] is None
    assert [row["version"] for row in state["versions"] if not row["rolled_back"]] == [2, 1]


def test_a_version_that_was_rolled_back_comes_back_as_a_canary(workspace):
    call(workspace, "rollback")
    call(workspace, "canary", "3", "--share", "5")
    state = json.loads(call(workspace, "list", "--json"))
    assert state["canary"]["share"] == 5
    assert state["labels"] == {"stable": 2, "canary": 3}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["canary", "9"], "there is no version 9; there are 1, 2, 3"),
        (["promote"], "there is no canary"),
        (["abort"], "there is no canary"),
    ],
)
def test_a_canary_that_makes_no_sense_is_refused(workspace, arguments, words):
    assert words in call(workspace, *arguments, code=2)
    assert json.loads(call(workspace, "list", "--json"))["canary"] is None


def test_a_canary_that_is_not_the_newest_is_not_promoted(workspace):
    call(workspace, "canary", "2")
    assert "version 3 is newer than the canary" in call(workspace, "promote", code=2)
