"""The source hash: changes with the code that a node runs, and with nothing else."""

import pathlib
import shutil
import socket
import time

import pytest
from tfx.dsl.compiler import compiler

from pipeline import provenance
from pipeline.pipeline import LOOKUPS
from tests.pipeline.test_pipeline import SPANS, make

ROOT = pathlib.Path(provenance.__file__).resolve().parent.parent


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the sources that a test may edit."""
    for package in provenance.SOURCES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__", "*.npz"),
        )
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "pipeline" / "provenance.py"))
    return tmp_path


def edit(path: pathlib.Path) -> None:
    path.write_text(path.read_text() + "\nEDITED = True\n")


def test_an_edit_of_an_imported_module_changes_the_hash_of_the_importer(copy):
    before = provenance.source_hash("trainer.run_fn")
    edit(copy / "trainer" / "losses.py")
    assert provenance.source_hash("trainer.run_fn") != before


def test_an_edit_of_a_module_that_is_not_imported_changes_nothing(copy):
    before = provenance.source_hash("trainer.run_fn")
    edit(copy / "pipeline" / "cli.py")
    edit(copy / "components" / "pusher.py")
    assert provenance.source_hash("trainer.run_fn") == before


def test_comments_docstrings_and_layout_are_no_code(copy):
    path = copy / "trainer" / "losses.py"
    before = provenance.source_hash("trainer.run_fn")
    text = path.read_text()
    path.write_text('"""Another docstring."""\n\n# a comment\n\n' + text.partition('"""\n')[2])
    assert path.read_text() != text
    assert provenance.source_hash("trainer.run_fn") == before
    path.write_text(text.replace("return", "return (1) +", 1))
    assert provenance.source_hash("trainer.run_fn") != before


def test_every_node_is_the_same_at_another_path_for_another_user_host_and_time_zone(
    copy, tmp_path, monkeypatch
):
    there = compiler.Compiler().compile(make(tmp_path / "ws", SPANS))
    for path in copy.rglob("*.py"):  # and with a comment in every file
        path.write_text("# edited\n" + path.read_text())
    assert compiler.Compiler().compile(make(tmp_path / "ws", SPANS)) == there
    monkeypatch.setattr(provenance, "__file__", str(ROOT / "pipeline" / "provenance.py"))
    for name in ("USER", "LOGNAME", "HOME", "HOSTNAME"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert compiler.Compiler().compile(make(tmp_path / "ws", SPANS)) == there
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_only_draws_is_left_out_by_name(copy):
    without = ("trainer.summaries",)
    before = provenance.source_hash("trainer.run_fn", without=without)
    edit(copy / "trainer" / "summaries.py")
    assert provenance.source_hash("trainer.run_fn", without=without) == before
    edit(copy / "trainer" / "losses.py")
    assert provenance.source_hash("trainer.run_fn", without=without) != before


def test_the_trainer_does_not_depend_on_the_judge_and_the_judge_not_on_the_trainer(copy):
    trainer = provenance.source_hash("trainer.run_fn")
    edit(copy / "components" / "evaluator.py")
    assert provenance.source_hash("trainer.run_fn") == trainer
    judge = provenance.source_hash("components.evaluator")
    edit(copy / "trainer" / "train_loop.py")
    assert provenance.source_hash("components.evaluator") == judge


def test_a_name_that_is_no_module_of_ours_is_refused():
    for name in ("numpy", "trainer.no_such_module"):
        with pytest.raises(ValueError, match=name):
            provenance.source_hash(name)


def test_the_versions_name_every_package_that_can_change_a_result():
    versions = provenance.library_versions()
    assert versions["tensorflow"].startswith("2.")
    assert "not installed" not in {versions[name] for name in ("tfx", "numpy", "apache-beam")}


def test_a_node_has_the_versions_of_what_it_uses_and_no_others(tmp_path):
    trainer = provenance.library_versions("Trainer")
    assert {"python", "tfx", "tensorflow", "keras"} <= trainer.keys()
    assert "tensorflow-data-validation" not in trainer
    assert "tensorflow-data-validation" in provenance.library_versions("StatisticsGen")
    assert set(trainer.items()) < set(provenance.library_versions().items())


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("MnistExampleGen", "components.mnist_example_gen"),
        ("Transform", "components.preprocessing"),
        ("Trainer", "trainer.run_fn"),
        ("GeneratorValidator", "serving.server.main"),
        ("Evaluator", "components.evaluator"),
    ],
)
def test_what_a_node_computes_with_is_among_its_versions(node, module):
    files = provenance._closure((module,)).values()
    parsed = [provenance._parsed(path.read_bytes()) for path in files]
    imported = {name.partition(".")[0] for names, _ in parsed for name in names}
    names = {"tensorflow": "tensorflow", "keras": "keras", "apache_beam": "apache-beam",
             "tensorflow_transform": "tensorflow-transform", "grpc": "grpcio"}  # fmt: skip
    used = {names[name] for name in imported & names.keys()}
    assert used and used <= provenance.library_versions(node).keys()


def test_every_node_of_the_pipeline_is_listed(tmp_path):
    nodes = {component.id for component in make(tmp_path, SPANS).components} - LOOKUPS
    assert nodes | {"Tuner"} == set(provenance._NODE_LIBRARIES)  # of `tune`, in no run
