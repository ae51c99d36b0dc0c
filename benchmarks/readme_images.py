"""Copies the images of README and documentation out of the newest run in a workspace.

python -m benchmarks.readme_images [--workspace workspace] [--out docs]

Those of pages are taken by `tools/screenshots.py`.
"""

import argparse
import pathlib
import shutil

import numpy as np
from PIL import Image

from common.images import BETWEEN
from common.workspace import DEFAULT, Workspace
from lineage.store import open_store


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


def main() -> None:
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


if __name__ == "__main__":
    main()
