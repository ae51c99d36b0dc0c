"""Makes the images of README and documentation from the newest run in a workspace.

python -m benchmarks.readme_images [--workspace workspace] [--out docs]

The pages are drawn by Chromium, which must be on PATH.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

from common.images import BETWEEN
from common.workspace import DEFAULT, Workspace
from lineage.store import open_store

WIDTH, HEIGHT = 1280, 1000  # of the window that pages are drawn in, pixels


def artifacts(workspace: Workspace) -> dict[str, pathlib.Path]:
    """Type of artifact to its folder, of the newest run."""
    store = open_store(workspace.metadata)
    ids = [execution.id for execution in store.executions_of_run(store.runs()[0])]
    made = {e.artifact for e in store.events_of_executions(ids) if e.kind == "output"}
    return {a.type: pathlib.Path(a.uri) for a in store.artifacts(made).values()}


def digits_of(path: pathlib.Path, column: int) -> list[np.ndarray]:
    """One column of a sample grid with ten rows, one digit per class, with grey borders."""
    sheet = np.asarray(Image.open(path).convert("L"))
    cell = (sheet.shape[0] - 2) // 10
    left = 2 + column * cell
    digits = [sheet[2 + k * cell : k * cell + cell, left : left + cell - 2] for k in range(10)]
    return [np.pad(digit, 2, constant_values=BETWEEN) for digit in digits]


def photograph(url: str, path: pathlib.Path, ready: str) -> None:
    """Writes what a browser shows of `url` once the CSS selector `ready` is visible."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as session:
        browser = session.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.locator(ready).first.wait_for()
        page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        page.wait_for_timeout(500)
        page.screenshot(path=str(path))
        browser.close()
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)


def main() -> None:
    from serving import process

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workspace", default=DEFAULT)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    options = parser.parse_args()
    workspace = Workspace.at(options.workspace)
    found = artifacts(workspace)
    options.out.mkdir(exist_ok=True)
    shutil.copy(found["ModelRun"] / "training.gif", options.out)
    for name in ("samples.png", "real_above_fake.png", "worst_and_best.png"):
        shutil.copy(found["ModelEvaluation"] / name, options.out)
    photograph(workspace.report.as_uri(), options.out / "report.png", "#verdict h1")
    with process.running(workspace.serving) as server:
        photograph(f"{server.rest_url}/", options.out / "playground.png", "#draw img")
    command = [sys.executable, "-m", "pipeline", "watch", "--port", "0"]
    command += ["--workspace", str(workspace.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        address = watching.stdout.readline().split()[0]
        photograph(address, options.out / "watch.png", "#samples")
        watching.terminate()


if __name__ == "__main__":
    main()
