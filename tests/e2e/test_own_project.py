"""A project of one's own, with all that the how-to pages say can be added to it, run as a whole."""

import json
import os
import pathlib
import re
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from pipeline import cli
from tests.conftest import REPOSITORY

SHAPES = {"disc": "ellipse", "square": "rectangle", "line": "line"}


def draw_shapes(folder: pathlib.Path, count: int) -> None:
    """Bright shapes of three kinds at random places, 28x28 and grey."""
    random = np.random.default_rng(0)
    for number in range(count):
        name, kind = list(SHAPES.items())[number % 3]
        image = Image.new("L", (28, 28))
        corner, size = random.integers(2, 12, 2), random.integers(8, 14)
        box = (*map(int, corner), *map(int, corner + size))
        getattr(ImageDraw.Draw(image), kind)(box, fill=int(random.integers(160, 256)))
        path = folder / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def blocks(page: str) -> dict[str, str]:
    """The Python code of a how-to page, by its first line: the file that it is for."""
    text = (REPOSITORY / "docs" / "how-to" / page).read_text()
    return dict(re.findall(r"^```python\n# ([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def write_additions(package: pathlib.Path) -> None:
    """What the pages say, done."""
    model, extend = blocks("model.md"), blocks("extend.md")
    networks = model["my_gan/networks.py"] + model["my_gan/networks.py, at the end"]
    (package / "networks.py").write_text(networks)
    for name in ("metrics.py", "components.py"):
        (package / name).write_text(extend[f"my_gan/{name}"])
    pipeline = (package / "pipeline.py").read_text()
    head, _, rest = pipeline.partition("import pathlib")
    pipeline = head + extend["my_gan/pipeline.py, at the top"] + "import pathlib" + rest
    before, _, after = pipeline.partition("def create_pipeline")
    function = extend["my_gan/pipeline.py, the function"]
    _, main, end = after.partition('if __name__ == "__main__":')
    (package / "pipeline.py").write_text(before + function + "\n\n" + main + end)


@pytest.mark.e2e
def test_a_project_with_networks_loss_metric_and_component_of_its_own_runs(tmp_path):
    draw_shapes(tmp_path / "shapes", 900)
    project = tmp_path / "my project"
    arguments = ["new", str(project), "--from", f"folder:{tmp_path / 'shapes'}"]
    made = CliRunner().invoke(cli.main, arguments)
    assert made.exit_code == 0, made.output
    write_additions(project / "my_gan")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = "--preset smoke --set steps=20 --set strictness=standard --set num_fakes=200 --json"
    ran = subprocess.run(
        ["make", "-s", "run", f"ARGS={options}"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    # Twenty steps draw no shapes: the judge says so, by thresholds that come from real ones.
    assert ran.stdout.startswith("{"), ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    assert document["state"] == "COMPLETE" and ran.returncode == 2, ran.stderr  # make's own
    assert document["blessed"] is False and document["pushed_version"] is None
    assert "held-out real images" in document["blessing_reason"]
    states = {node["id"]: node["state"] for node in document["nodes"]}
    assert states["FeatureExtractor"] == states["MeasureBrightness"] == "COMPLETE"

    root = project / "workspace" / "pipeline_root"
    (found,) = root.glob("Evaluator/evaluation/*/evaluation.json")
    evaluation = json.loads(found.read_text())
    assert set(evaluation["extractors"]) == {"classifier", "pooled", "random"}
    assert evaluation["thresholds"]["max_level_gap"] == 20.0
    assert {"level_gap", "accuracy", "class_share"} <= set(evaluation["metrics"])
    assert evaluation["metrics"]["real_accuracy"] > 0.9  # its own classifier knows the shapes
    assert evaluation["held_out"]["count"] > 80
    (brightness,) = root.glob("MeasureBrightness/brightness/*/brightness.txt")
    assert 0 < float(brightness.read_text()) < 128
