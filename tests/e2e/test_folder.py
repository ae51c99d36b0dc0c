"""A folder of image files in two spans, from its classes' names to images drawn by name."""

import json
import pathlib

import pytest
from click.testing import CliRunner
from PIL import Image

from common.contract import GeneratorContract
from lineage.store import open_store
from pipeline import cli
from tests.e2e.conftest import run

pytestmark = pytest.mark.e2e

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory):
    """(workspace, run) of real digits by classes in words: all are span 2, a quarter span 1."""
    root = tmp_path_factory.mktemp("folder")
    for number, (image, label) in enumerate(zip(*digits, strict=True)):
        for span in ("span-2",) if number % 4 else ("span-1", "span-2"):
            path = root / "My digits" / span / NAMES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)
    return root / "w", run(root / "w", "--dataset", f"folder:{root / 'My digits'}")


def test_a_folder_becomes_a_model_of_its_own_name_with_its_classes(made):
    workspace, first = made
    assert first.exit_code == 0, first.stderr
    assert first.document["dataset"] == "folder/my_digits"
    (version,) = (workspace / "serving" / "folder_my_digits_gan").iterdir()
    contract = GeneratorContract.load(version)
    assert contract.class_names == tuple(sorted(NAMES)) and contract.conditional
    pushed = json.loads((version / "assets.extra" / "metadata.json").read_text())
    assert set(pushed["data"]["checksums"]) == {f"span-2/{name}" for name in NAMES}
    assert sum(pushed["data"]["split_counts"].values()) == 900  # as the settings of the run cap it
    page = (workspace / "report" / "index.html").read_text()
    assert "folder/my_digits" in page and all(name in page for name in NAMES)


def test_the_newest_span_is_learnt_from_and_its_drift_is_measured_and_shown(made):
    workspace, first = made
    assert first.states()["SpanDrift"] == "COMPLETE"
    store = open_store(workspace / "metadata.sqlite")
    [examples] = store.artifacts_of_type("Examples")
    assert examples.properties["span"] == 2 and examples.properties["spans"] == [2]
    [drift] = store.artifacts_of_type("SpanDrift")
    assert (drift.properties["span"], drift.properties["before"]) == (2, 1)
    assert drift.properties["image_drift"] < 0.75  # the same digits
    assert "Train images of span 1 above" in (workspace / "report" / "index.html").read_text()


def test_a_class_of_a_folder_is_drawn_by_its_name(made):
    workspace, _ = made

    def draw(name: str, wanted: str) -> bytes:
        out = pathlib.Path(workspace, name)
        options = ["--class", wanted, "--count", "4", "--out", str(out)]
        done = CliRunner().invoke(cli.main, ["generate", "--workspace", str(workspace), *options])
        assert done.exit_code == 0, done.output
        return out.read_bytes()

    seven = sorted(NAMES).index("seven")
    assert draw("a.png", "seven") == draw("b.png", str(seven)) != draw("c.png", "two")
