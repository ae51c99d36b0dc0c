"""What others made can't run code, write outside the workspace, or speak to the terminal.

SECURITY.md lists what is tried here.
"""

import io
import json
import logging
import os
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from common.text import parse_json
from common.workspace import Workspace, moved_path
from datasets import image_folder, tfds_store
from judge import local_generator, safe_model, targets
from lineage import digests, stale
from lineage.store import open_store
from pipeline import cache, cli, ir
from pipeline.console import RunView
from pipeline.options import Failure
from report import pages
from serving import versions
from tests import fixtures_generators as generators
from tests.lineage.conftest import eleven_runs, workspace, writer  # noqa: F401 - fixtures
from trainer.training_config import best_settings

DEEP = "[" * 2000 + "]" * 2000
EVIL = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[link=http://evil.example]x[/link]"


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def test_pickled_code_and_names_that_climb_in_an_archive_do_nothing(tmp_path):
    trap, climbing = tmp_path / "trap", io.BytesIO()
    np.savez(tmp_path / "pickled.npz", images=np.array([Payload(trap)], dtype=object))
    np.save(climbing, np.zeros((2, 28, 28, 1), np.uint8))
    with zipfile.ZipFile(tmp_path / "climbing.npz", "w") as archive:
        archive.writestr("../../outside.npy", climbing.getvalue())
    before = sorted(tmp_path.parent.rglob("*"))
    for name in ("pickled.npz", "climbing.npz"):
        with pytest.raises(ValueError, match=name):
            targets.open_target(tmp_path / name, tuple("0123456789"))
    assert sorted(tmp_path.parent.rglob("*")) == before and not trap.exists()


def test_a_prepared_data_set_that_names_a_module_of_its_own_does_not_get_it_imported(
    tmp_path, monkeypatch
):
    folder = tmp_path / "digits" / "0.9.0"
    tfds_store.prepare(tfds_store.get_builder("digits", tmp_path), None)
    shutil.copytree(tmp_path / "digits" / "1.0.0", folder)
    (tmp_path / "trap_module.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    features = (folder / "features.json").read_text()
    assert "tensorflow_datasets.core.features.image_feature.Image" in features
    (folder / "features.json").write_text(
        features.replace("tensorflow_datasets.core.features.image_feature", "trap_module")
    )
    info = (folder / "dataset_info.json").read_text().replace("1.0.0", "0.9.0")
    (folder / "dataset_info.json").write_text(info)
    with pytest.raises(tfds_store.DataError, match="which is not part of TFDS") as error:
        tfds.builder_from_directory(str(folder))
    assert "'trap_module.Image'" in str(error.value)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("operation", "build"),
    [
        ("WriteFile", lambda path: tf.io.write_file(path, "owned")),
        ("ReadFile", lambda path: tf.io.read_file(path)),
        ("SaveV2", lambda path: tf.raw_ops.SaveV2(
            prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1)])),
        ("PrintV2", lambda path: tf.print("owned", output_stream=f"file://{path}")),
        ("DatasetFromGraph", lambda path: tf.raw_ops.DatasetFromGraph(graph_def=b"")),
        ("DecodeProtoV2", lambda path: tf.io.decode_proto(
            b"", "x", [], [], descriptor_source=path).sizes),
        ("EagerPyFunc", lambda path: tf.py_function(lambda: os.mkdir(path), [], [])),
    ],
)  # fmt: skip
def test_a_model_that_reaches_for_files_or_python_is_not_loaded(digits, tmp_path, operation, build):
    trap = tmp_path / "trap"

    def change(images, seeds):
        # In a function of a branch of a function: nothing hides by depth.
        def reach():
            with tf.control_dependencies([op for op in [build(str(trap))] if op is not None]):
                return tf.identity(images)

        return tf.cond(tf.size(seeds) >= 0, reach, lambda: images)

    folder = generators.export(tmp_path / "model", digits[0][:50], digits[1][:50], change=change)
    with pytest.raises(
        local_generator.GeneratorError,
        match=f"operation {operation} .*a generator does not need: it is not loaded",
    ):
        local_generator.Generator(folder)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("trap")]


def test_a_good_generator_passes(digits, tmp_path):
    safe_model.check(generators.export(tmp_path / "model", digits[0][:50], digits[1][:50]))


def test_a_file_that_is_no_model_is_said_to_be_none(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(safe_model.UnsafeModelError, match="no SavedModel"):
        safe_model.check(tmp_path)


@pytest.fixture
def evil(workspace) -> Workspace:  # noqa: F811
    """A workspace in whose store a stranger has written into every text that is shown."""
    handle = writer(workspace)
    executions = handle.get_executions()
    for execution in executions:
        execution.custom_properties["error"].string_value = EVIL
    handle.put_executions(executions)
    artifacts = handle.get_artifacts()
    for artifact in artifacts:
        for key in ("reason", "dataset", "dataset_version", EVIL):
            artifact.custom_properties[key].string_value = EVIL
        for key in (digests.FILES_PROPERTY, digests.SIZES_PROPERTY, "split_counts"):
            artifact.custom_properties[key].string_value = DEEP
    handle.put_artifacts(artifacts)
    runs = handle.get_contexts_by_type("pipeline_run")
    for run in runs:
        for key in ("dataset", "preset", "dataset_note"):
            run.custom_properties[key].string_value = EVIL
    handle.put_contexts(runs)
    for version in versions.list_versions(workspace.serving):
        path = version.path / "assets.extra" / "metadata.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"pushed_at": EVIL, "preset": EVIL, "model": [EVIL],
                                    "data": {"dataset": EVIL}, "metrics": {"fid": EVIL},
                                    "mlmd": {"pipeline_run_id": EVIL}}))  # fmt: skip
        path.with_name("model_card.md").write_text(EVIL)
    path.write_text(DEEP)
    return workspace


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("versions", "list"),
        ("lineage", "runs"),
        ("lineage", "trace", "--version", "latest"),
        ("lineage", "verify"),
        ("lineage", "stale"),
    ],
)
def test_text_of_a_stranger_gives_the_terminal_no_orders(evil, command):
    result = CliRunner().invoke(cli.main, [*command, "--workspace", str(evil.root)], color=True)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "\x1b]" not in result.output and "\x1b[2J" not in result.output
    assert "\x07" not in result.output


def test_text_of_a_stranger_is_no_markup_in_the_report(evil):
    page = pages.build(evil).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_what_a_store_says_of_its_files_is_never_removed_outside_the_workspace(
    workspace,  # noqa: F811
    tmp_path,
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace.pipeline_root / "link").symlink_to(outside)
    for uri in (str(outside), f"{workspace.pipeline_root}/../../outside",
                f"{workspace.pipeline_root}/link"):  # fmt: skip
        found = {"unreferenced": [{"path": uri, "bytes": 0}], "folders": []}
        stale.prune(workspace.metadata, workspace.pipeline_root, found)
    assert outside.is_dir()


@pytest.mark.parametrize("name", ["outside", "workspace/pipeline_root/Trainer/model/9"])
def test_what_a_store_says_of_its_files_is_not_read_outside_the_workspace(
    workspace,  # noqa: F811
    tmp_path,
    caplog,
    name,
):
    (tmp_path / "outside").mkdir()
    link = workspace.pipeline_root / "Trainer" / "model" / "9"
    shutil.rmtree(link)
    link.symlink_to(tmp_path / "outside")
    handle = writer(workspace)
    artifact = handle.get_artifacts_by_type("Model")[-1]
    artifact.uri = str(tmp_path / name)
    handle.put_artifacts([artifact])
    assert open_store(workspace.metadata).path_of(artifact.uri) is None
    # Nor does a run go on from it.
    cache.abandon_broken(handle, [artifact], "it is made again", root=workspace.root)
    assert f"(it is not in {workspace.root}): it is made again" in caplog.text


def test_nothing_is_removed_where_the_folder_of_artifacts_is_a_link(workspace, tmp_path):  # noqa: F811
    workspace.pipeline_root.rename(tmp_path / "pipeline_root")
    workspace.pipeline_root.symlink_to(tmp_path / "pipeline_root")
    (tmp_path / "pipeline_root" / "photos" / "summer" / "2024").mkdir(parents=True)
    found = stale.stale(open_store(workspace.metadata), workspace.pipeline_root, alive=False)
    assert "2024" in json.dumps(found["folders"])
    with pytest.raises(stale.PruneError, match="nothing is removed there"):
        stale.prune(workspace.metadata, workspace.pipeline_root, found)


@pytest.mark.parametrize("tail", ["pipeline_root/../../../etc/x", "serving/m/../../../../etc"])
def test_a_path_that_climbs_is_no_path_of_a_workspace(tmp_path, tail):
    assert moved_path(f"/somewhere/{tail}", tmp_path) is None


def test_a_version_with_nonsense_for_documents_is_a_version_all_the_same(tmp_path):
    for number, documents in enumerate(([], {"model": "x", "blessing": 3, "metrics": []}), 1):
        extra = tmp_path / str(number) / "assets.extra"
        extra.mkdir(parents=True)
        (extra / "metadata.json").write_text(json.dumps(documents))
    rows = versions.overview(tmp_path, {})
    assert [row["version"] for row in rows] == [2, 1]
    assert {row["fid"] for row in rows} == {None}


def test_what_is_nested_too_deeply_is_refused_as_what_is_no_json():
    assert parse_json('{"a": [1, {"b": "[["}]}') == {"a": [1, {"b": "[["}]}
    for text in (DEEP, "[" * 200 + "]" * 200, "["):
        with pytest.raises(ValueError):
            parse_json(text)


def test_names_of_a_stranger_in_a_message_or_a_warning_give_the_terminal_no_orders():
    told = io.StringIO()
    view = RunView(Console(file=told, force_terminal=False))
    view.emit(logging.makeLogRecord({"msg": EVIL, "levelno": logging.WARNING}))
    view.node_ended("Trainer", "FAILED", 0.1, EVIL)
    told.write(Failure(EVIL).format_message())
    assert told.getvalue().count("<script>") == 3
    assert not set("\x1b\x07") & set(told.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": {"A": [], "../../B": []}},
        {"nodes": {"A": [], EVIL: []}},
        {"nodes": {"A": [EVIL]}},
        {"nodes": ["A"]},
        {"workspace": 3},
        {"workspace": "a\0b"},
        {"facts": {}},
        {"facts": {"nodes": DEEP}},
        {"pipeline": [DEEP]},
        {"more": 1},
        DEEP.encode(),
        b"\xff\xfe",
    ],
    ids=str,
)
def test_a_compiled_pipeline_that_is_none_is_refused(tmp_path, monkeypatch, change):
    monkeypatch.setattr(ir, "code", lambda: "1")
    whole = {"schema": ir.SCHEMA, "workspace": str(tmp_path), "folder": "/", "tfds_dir": "",
             "code": "1", "nodes": {"A": []}, "facts": {"nodes": '["A"]'},
             "pipeline": {}}  # fmt: skip
    file = tmp_path / "pipeline.json"
    file.write_text(json.dumps(whole))
    assert ir.read(file) == whole
    file.write_bytes(change if isinstance(change, bytes) else json.dumps(whole | change).encode())
    with pytest.raises(ir.IrError, match="is no compiled pipeline of this version"):
        ir.read(file)


def test_settings_that_a_search_found_name_no_file_of_code(tmp_path):
    good = {"model": "cdcgan", "learning_rate": 0.001, "tuner/number": 3}
    assert best_settings({"values": good}, "cdcgan") == {"model": "cdcgan", "learning_rate": 0.001}
    for name, value in (("networks", str(tmp_path / "evil.py")), ("learning_rate", DEEP)):
        with pytest.raises(ValueError, match="no search has ended here"):
            best_settings({"values": good | {name: value}}, "cdcgan")


@pytest.mark.parametrize(
    "name", ["\x1b[2J", "a\u202eb", "span-1/../..", "span-" + "9" * 30, "a\nb", "a\udcffb"]
)
def test_a_folder_of_images_whose_name_is_a_trap_is_refused_by_name(tmp_path, name):
    folder = tmp_path / name.replace("/", "\u2044")
    for place in (folder, tmp_path / ("span-1" if "span" in name else "b")):
        place.mkdir()
        Image.new("L", (28, 28)).save(place / "a.png")
    with pytest.raises(tfds_store.DataError) as error:
        image_folder.open_folder(f"folder:{tmp_path}")
    assert "\x1b" not in str(error.value)
