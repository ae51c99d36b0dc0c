"""Version directories: whole or absent, rising, never the same model twice."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from serving import versions


@pytest.fixture
def model(tmp_path) -> pathlib.Path:
    """A folder with the files of a SavedModel."""
    return make_model(tmp_path / "model")


def make_model(folder: pathlib.Path, weights: bytes = b"weights") -> pathlib.Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(weights)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "generator.json").write_text("{}")
    return folder


def describe(version: int) -> tuple[dict, dict]:
    return {"assets.extra/model_card.md": f"# {version}".encode()}, {"metrics": {"fid": 1.5}}


def test_a_published_version_holds_the_model_its_papers_and_their_digests(model, tmp_path):
    version, is_new = versions.publish(model, tmp_path / "base", describe)
    assert is_new and version.path == tmp_path / "base" / str(version.number)
    assert (version.path / "saved_model.pb").read_bytes() == b"graph"
    assert (version.path / "assets.extra/model_card.md").read_text() == f"# {version.number}"
    metadata = json.loads((version.path / "assets.extra/metadata.json").read_text())
    assert metadata["metrics"] == {"fid": 1.5}
    assert metadata["version"] == version.number
    on_disk = versions.file_digests(version.path)
    del on_disk["assets.extra/metadata.json"]
    assert metadata["files"] == on_disk
    assert metadata["model"]["digest"] == versions.model_digest(model)
    assert versions.latest(tmp_path / "base") == version
    # Nothing else: a server looks at every name here.
    assert os.listdir(tmp_path / "base") == [str(version.number)]


def test_the_same_model_is_not_published_twice(model, tmp_path):
    first, _ = versions.publish(model, tmp_path / "base", describe)
    copy = shutil.copytree(model, tmp_path / "copy")
    # A retraining to the same weights: another export, the same model.
    (copy / "fingerprint.pb").write_bytes(b"random")
    (copy / "assets.extra" / "generator.json").write_text('{"seed": 2}')
    again, is_new = versions.publish(copy, tmp_path / "base", describe)
    assert not is_new and again == first
    assert len(versions.list_versions(tmp_path / "base")) == 1


def test_version_numbers_rise_even_within_a_second_or_after_a_clock_set_back(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(versions.time, "time", lambda: 1000.9)
    first, _ = versions.publish(model, tmp_path / "base", describe)
    second, _ = versions.publish(make_model(tmp_path / "b", b"b"), tmp_path / "base", describe)
    monkeypatch.setattr(versions.time, "time", lambda: 10.0)
    third, _ = versions.publish(make_model(tmp_path / "c", b"c"), tmp_path / "base", describe)
    assert [first.number, second.number, third.number] == [1000, 1001, 1002]


def test_names_that_are_not_integers_are_no_versions(model, tmp_path):
    for name in ("00000123", "7", ".tmp-9-1", "backup", "8.5", "²"):
        shutil.copytree(model, tmp_path / "base" / name)
    (tmp_path / "base" / "12").write_text("a file")
    assert [v.number for v in versions.list_versions(tmp_path / "base")] == [7, 123]


def test_a_folder_that_is_not_there_has_no_versions(tmp_path):
    assert versions.list_versions(tmp_path / "none") == []
    assert versions.latest(tmp_path / "none") is None


def test_a_full_disk_leaves_nothing_behind_and_says_so(model, tmp_path, monkeypatch):
    def full(source, target, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    copytree = shutil.copytree
    monkeypatch.setattr(
        versions.shutil, "copytree", lambda s, t, *_: copytree(s, t, copy_function=full)
    )
    with pytest.raises(versions.PublishError, match=r"disk of .* is full.*nothing was pushed"):
        versions.publish(model, tmp_path / "base", describe)
    assert os.listdir(tmp_path / "base") == []


def test_an_error_while_describing_leaves_nothing_behind(model, tmp_path):
    def broken(version: int):
        raise KeyError("reason")

    with pytest.raises(KeyError):
        versions.publish(model, tmp_path / "base", broken)
    assert os.listdir(tmp_path / "base") == []


def test_leftovers_of_a_killed_push_go_with_the_next_push(model, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leftover = tmp_path / "base" / f".tmp-1-{process.pid}"
    mine = tmp_path / "base" / f".tmp-1-{os.getppid()}"
    for folder in (leftover, mine):
        folder.mkdir(parents=True)
        (folder / "half").write_text("")
    versions.publish(model, tmp_path / "base", describe)
    assert not leftover.exists()
    assert mine.exists()  # its process lives


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(versions.PublishError, match=r"holds no saved_model\.pb"):
        versions.publish(tmp_path / "empty", tmp_path / "base", describe)


def test_the_digest_changes_with_weights_and_names_but_not_with_papers(tmp_path):
    one = versions.model_digest(make_model(tmp_path / "one"))
    assert one == versions.model_digest(make_model(tmp_path / "same"))
    assert one != versions.model_digest(make_model(tmp_path / "two", b"other"))
    renamed = make_model(tmp_path / "renamed")
    (renamed / "variables" / "variables.index").rename(renamed / "variables" / "other")
    assert one != versions.model_digest(renamed)
