"""The default model beside those that it descends from, each trained and judged by the pipeline.

    python -m benchmarks.models [--preset standard] [--models cdcgan dcgan ...]
                                [--cas-fakes 60000] [--keep DIR] [--out docs/models]

Runs `mnist-gan run --set model=...` for each, one after the other, in workspaces of their own.
Prints a table of sizes, minutes of the Trainer, relative FID (worst extractor) and CAS, and writes
a strip of digits of each to `--out`. CAS needs a conditional model. A model may miss thresholds.
"""

import argparse
import json
import pathlib
import tempfile

import numpy as np
from PIL import Image

from benchmarks.pipeline import run
from benchmarks.readme_images import artifacts, digits_of
from common.workspace import Workspace
from trainer.training_config import MODELS, TrainingConfig, make_config, preset

COLUMNS = (
    "parameters G, D",
    "batch, steps",
    "minutes",
    "relative FID",
    "coverage",
    "conditional accuracy",
    "CAS",
)


def row(config: TrainingConfig, document: dict, records: pathlib.Path) -> list[str]:
    """A model's cells, for `COLUMNS`, from what `run --json` said and the Trainer's records."""
    networks = json.loads((records / "networks.json").read_text())
    sizes = [f"{networks[side]['parameters']:,}" for side in ("generator", "discriminator")]
    seconds = {node["id"]: node["seconds"] for node in document["nodes"]}["Trainer"]
    metrics = document["metrics"]
    return [
        ", ".join(sizes),
        f"{config.batch_size}, {config.steps:,}",
        f"{seconds / 60:.1f}",
        f"{metrics['relative_fid']:.3g}",
        f"{metrics['coverage']:.1%}",
        f"{metrics['accuracy']:.1%}" if "accuracy" in metrics else "unconditional",
        f"{metrics['cas']:.2%}" if "cas" in metrics else "",
    ]


def strip(samples: pathlib.Path) -> Image.Image:
    """Twenty digits of the finished generator, a row of ten above another."""
    newest = max(samples.glob("step_*.png"))
    rows = [np.concatenate(digits_of(newest, column), axis=1) for column in (0, 1)]
    sheet = np.concatenate(rows)
    return Image.fromarray(sheet.repeat(2, axis=0).repeat(2, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--cas-fakes", type=int, default=60_000, help="0 leaves CAS out")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the workspaces in this folder")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/models"))
    options = parser.parse_args()
    for model in options.models:
        if options.keep and (options.keep / model).exists():
            # Its Trainer would be cached or resumed, and the minutes not those of a training.
            parser.error(f"{options.keep / model} is there already; name a new folder with --keep")
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"| model | {' | '.join(COLUMNS)} |\n| --- |{' --- |' * len(COLUMNS)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for model in options.models:
            workspace = (options.keep or pathlib.Path(temporary)) / model
            assignments = [f"model={model}", f"cas_fakes={options.cas_fakes}"]
            document = run(workspace, options.preset, assignments)
            records = artifacts(Workspace.at(workspace))["ModelRun"]
            strip(records / "samples").save(options.out / f"{model}.png", optimize=True)
            config = make_config(**{"model": model, **preset(options.preset, model)})
            cells = row(config, document, records)
            print(f"| `{model}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
