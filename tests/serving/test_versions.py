"""Version directories: whole or absent, rising, never the same model twice."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from common.files import file_digests
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


def test_a_published_version_holds_the_model_its_metadata_and_digests(model, tmp_path):
    version, is_new = versions.publish(model, tmp_path / "base", describe)
    assert is_new and version.path == tmp_path / "base" / str(version.number)
    assert (version.path / "saved_model.pb").read_bytes() == b"graph"
    assert (version.path / "assets.extra/model_card.md").read_text() == f"# {version.number}"
    metadata = json.loads((version.path / "assets.extra/metadata.json").read_text())
    assert metadata["metrics"] == {"fid": 1.5}
    assert metadata["version"] == version.number
    on_disk = file_digests(version.path)
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


def test_a_version_whose_files_were_altered_does_not_hold_its_model(model, tmp_path):
    damaged, _ = versions.publish(model, tmp_path / "base", describe)
    next(damaged.path.glob("variables/*")).write_bytes(b"altered")
    whole, is_new = versions.publish(model, tmp_path / "base", describe)
    assert is_new and whole.number > damaged.number


def test_a_numbered_folder_without_a_model_stops_no_push(model, tmp_path):
    (tmp_path / "base" / "5").mkdir(parents=True)
    version, is_new = versions.publish(model, tmp_path / "base", lambda number: ({}, {}))
    assert is_new
    assert version.number > 5


def test_version_numbers_rise_even_within_a_second_or_after_a_clock_set_back(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(versions.time, "time", lambda: 1000.9)
    first, _ = versions.publish(model, tmp_path / "base", describe)
    second, _ = versions.publish(make_model(tmp_path / "b", b"b"), tmp_path / "base", describe)
    monkeypatch.setattr(versions.time, "time", lambda: 10.0)
    third, _ = versions.publish(make_model(tmp_path / "c", b"c"), tmp_path / "base", describe)
    monkeypatch.setattr(versions.time, "time", lambda: 2.0**31 + 5)  # after the year 2038
    last, _ = versions.publish(make_model(tmp_path / "d", b"d"), tmp_path / "base", describe)
    found = [version.number for version in versions.list_versions(tmp_path / "base")]
    assert found == [first.number, second.number, third.number, last.number]
    assert found == [1000, 1001, 1002, 2**31 + 5]


def test_names_that_are_not_integers_are_no_versions(model, tmp_path):
    for name in ("00000123", "7", ".tmp-9-1", "backup", "8.5", "²", str(2**63)):
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
    said = r"disk of .* is full: nothing was pushed\. The model has \d+ bytes, [\d,]+ are free"
    with pytest.raises(versions.PublishError, match=said):
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


def three(tmp_path) -> pathlib.Path:
    """A base path with versions 1, 2 and 3 of different models."""
    base = tmp_path / "base"
    for number in (1, 2, 3):
        make_model(base / str(number), str(number).encode())
    return base


def numbers(found: list[versions.Version]) -> list[int]:
    return [version.number for version in found]


def test_a_rollback_takes_the_newest_version_out_of_sight_and_restore_brings_it_back(tmp_path):
    base = three(tmp_path)
    (gone,) = versions.roll_back(base)
    assert (gone.number, gone.is_rolled_back) == (3, True)
    assert numbers(versions.list_versions(base)) == [1, 2]
    assert numbers(versions.list_rolled_back(base)) == [3]
    # No server takes the name for a number.
    assert not any(name.isdigit() and int(name) == 3 for name in os.listdir(base))
    assert versions.roll_back(base)[0].number == 2
    assert versions.restore(base, 3) == versions.latest(base)
    assert numbers(versions.list_versions(base)) == [1, 3]
    assert not versions.latest(base).is_rolled_back


def test_going_back_to_a_version_takes_the_newest_one_out_last(tmp_path, monkeypatch):
    base = three(tmp_path)
    seen = []
    rename = os.rename

    def watched(source, target):
        rename(source, target)
        seen.append(versions.latest(base).number)

    monkeypatch.setattr(versions.os, "rename", watched)
    assert numbers(versions.roll_back(base, to=1)) == [2, 3]
    # Servers never went to 2.
    assert seen == [3, 1]


@pytest.mark.parametrize(
    ("to", "words"),
    [(None, "is the only one"), (3, "is the newest already"), (9, "no version 9; there are 3")],
)
def test_a_rollback_that_makes_no_sense_changes_nothing(tmp_path, to, words):
    base = three(tmp_path)
    for number in (1, 2):
        shutil.rmtree(base / str(number))
    with pytest.raises(versions.VersionError, match=words):
        versions.roll_back(base, to)
    assert os.listdir(base) == ["3"]


def test_what_was_not_rolled_back_can_not_be_restored(tmp_path):
    with pytest.raises(versions.VersionError, match=r"version 2 was not rolled back .*none"):
        versions.restore(three(tmp_path), 2)
    with pytest.raises(versions.VersionError, match="there is no version in"):
        versions.roll_back(tmp_path / "nowhere")


def test_the_number_of_a_version_that_was_rolled_back_is_not_given_to_another(
    tmp_path, monkeypatch
):
    base = three(tmp_path)
    monkeypatch.setattr(versions.time, "time", lambda: 2.0)
    versions.roll_back(base)
    version, _ = versions.publish(make_model(tmp_path / "new", b"new"), base, describe)
    assert version.number == 4
    assert versions.restore(base, 3).number == 3


def test_a_model_that_was_rolled_back_is_not_published_again(tmp_path):
    base = three(tmp_path)
    model = shutil.copytree(base / "3", tmp_path / "model")
    versions.roll_back(base)
    version, is_new = versions.publish(model, base, describe)
    assert (version.number, is_new, version.is_rolled_back) == (3, False, True)
    assert numbers(versions.list_versions(base)) == [1, 2]


def test_the_overview_tells_what_the_metadata_says_newest_first(model, tmp_path):
    base = tmp_path / "base"
    first, _ = versions.publish(model, base, describe)
    second, _ = versions.publish(make_model(tmp_path / "b", b"b"), base, describe)
    make_model(base / "7", b"by hand")  # without metadata
    versions.roll_back(base)
    rows = versions.overview(base, {"stable": first.number, "canary": second.number, "old": 7})
    assert [row["version"] for row in rows] == [second.number, first.number, 7]
    assert [row["current"] for row in rows] == [False, True, False]
    assert [row["rolled_back"] for row in rows] == [True, False, False]
    assert [row["labels"] for row in rows] == [["canary"], ["stable"], ["old"]]
    assert [row["fid"] for row in rows] == [1.5, 1.5, None]
    assert rows[1]["pushed_at"].endswith("Z") and rows[2]["pushed_at"] is None


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(versions.PublishError, match=r"holds no saved_model\.pb"):
        versions.publish(tmp_path / "empty", tmp_path / "base", describe)


def test_the_digest_changes_with_weights_and_names_but_not_with_metadata(tmp_path):
    one = versions.model_digest(make_model(tmp_path / "one"))
    assert one == versions.model_digest(make_model(tmp_path / "same"))
    assert one != versions.model_digest(make_model(tmp_path / "two", b"other"))
    renamed = make_model(tmp_path / "renamed")
    (renamed / "variables" / "variables.index").rename(renamed / "variables" / "other")
    assert one != versions.model_digest(renamed)
