"""Seconds per node: cold and cached, and how they grow from 7,000 to 70,000 examples.

    python -m benchmarks.pipeline [--preset standard] [--keep DIR]

Runs the pipeline as a user does, in processes of their own: a tenth of the data set with a few
steps of training, all of it with a few steps, all of it with the preset as it is, and that once
more with nothing changed. Prints seconds per node, their growth, the total and the peak memory.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TENTH = ["train_examples=5000", "eval_examples=1000", "test_examples=1000"]
FEW_STEPS = ["steps=100", "strictness=smoke"]


def run(workspace: pathlib.Path, preset: str, assignments: list[str]) -> dict:
    """One run of the pipeline: its document, with `wall` (s) and `peak` (memory, GiB) added."""
    command = [sys.executable, "-m", "pipeline", "run", "--json", "--workspace", str(workspace)]
    command += ["--preset", preset]
    for assignment in assignments:
        command += ["--set", assignment]
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        document = json.loads(process.stdout.read())
        _, _, usage = os.wait4(process.pid, 0)  # of this child alone
        process.returncode = 0
    document["wall"] = time.monotonic() - begun
    document["peak"] = usage.ru_maxrss / 2**20
    return document


def seconds(document: dict) -> dict[str, float]:
    """Seconds by node, and what lies outside of nodes (start-up, data, report)."""
    nodes = {node["id"]: node["seconds"] or 0.0 for node in document["nodes"]}
    return {**nodes, "(start and end)": document["wall"] - sum(nodes.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the workspaces in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or pathlib.Path(temporary)
        runs = {
            "7,000": run(root / "tenth", options.preset, TENTH + FEW_STEPS),
            "70,000": run(root / "whole", options.preset, FEW_STEPS),
            "cold": run(root / "cold", options.preset, []),
            "cached": run(root / "cold", options.preset, []),
        }
    columns = {name: seconds(document) for name, document in runs.items()}
    print(f"| node | {' | '.join(columns)} | 70,000 over 7,000 |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    for node in columns["cold"]:
        cells = [f"{column[node]:.1f}" for column in columns.values()]
        growth = columns["70,000"][node] / max(columns["7,000"][node], 0.1)
        print(f"| {node} | {' | '.join(cells)} | {growth:.1f} |")
    totals = [f"{document['wall']:.1f}" for document in runs.values()]
    print(f"| **all** | {' | '.join(totals)} | |")
    peaks = [f"{document['peak']:.1f}" for document in runs.values()]
    print(f"| peak memory, GiB | {' | '.join(peaks)} | |")
    training = columns["cold"]["Trainer"]
    print(f"\neverything but the Trainer, cold: {runs['cold']['wall'] - training:.1f} s")


if __name__ == "__main__":
    main()
