"""Seconds and memory per node as the data grows, in one process and on two Beam workers.

    python -m benchmarks.growth [--examples 70000] [--examples 700000] [--keep DIR]

Makes a set called "mnist" of so many images: MNIST's, again and again, moved by up to five pixels.
Runs the pipeline with ten steps of training and 2,000 fakes, each node in a process of its own,
then all of it again on two workers on this machine, each of a pool of its own. MNIST_GAN_DATA_DIR
or `--data-dir` says where MNIST's original files are. Memory is the most that the process had for
itself (`RssAnon`): mapped files, which the system drops when it needs room, are not in it. CPU
seconds hold the ten or so that a process takes to start. Linux only.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

from benchmarks import pipeline
from common.files import write_atomically
from datasets import data_config, png, source, tfds_store
from datasets.examples import read_prepared
from serving.server.listening import free_ports

SHORT = ["steps=10", "eval_interval=0", "strictness=smoke", "num_fakes=2000"]
SHARD = 10_000
HELD_OUT = 10_000
NODES_ON_WORKERS = ("MnistExampleGen", "StatisticsGen", "Transform", "Evaluator")
# The nearest first, so that a small set is moved by little.
MOVES = sorted(itertools.product(range(-5, 6), repeat=2), key=lambda yx: yx[0] ** 2 + yx[1] ** 2)


def make(count: int, mnist: source.DataSource, root: pathlib.Path) -> float:
    """Writes a TFDS set of `count` images below `root`; returns the seconds that it took."""
    begun = time.monotonic()
    parts = [read_prepared(mnist, split) for split in ("train", "eval", "test")]
    images = np.concatenate([part.images for part in parts[:2]])
    labels = np.concatenate([part.labels for part in parts[:2]])
    builder = tfds_store.get_builder("mnist", root)
    folder = pathlib.Path(builder.data_dir)
    folder.mkdir(parents=True)
    infos = []
    for split, size in (("train", count - HELD_OUT), ("test", HELD_OUT)):
        lengths = [min(SHARD, size - start) for start in range(0, size, SHARD)]
        for shard, length in enumerate(lengths):
            path = folder / f"mnist-{split}.tfrecord-{shard:05d}-of-{len(lengths):05d}"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row in range(shard * SHARD, shard * SHARD + length):
                    if split == "test":
                        image, label = parts[2].images[row], parts[2].labels[row]
                    else:
                        move = MOVES[row // len(images) % len(MOVES)]
                        image = np.roll(images[row % len(images)], move, axis=(0, 1))
                        label = labels[row % len(images)]
                    writer.write(_example(image, int(label)))
        infos.append(_split_info(builder, folder, split, lengths))
    builder.info.set_splits(type(builder.info.splits)(infos))
    builder.info.write_to_directory(folder)
    return time.monotonic() - begun


def _example(image: np.ndarray, label: int) -> bytes:
    features = {
        "image": tf.train.Feature(bytes_list={"value": [png.encode_png(image)]}),
        "label": tf.train.Feature(int64_list={"value": [label]}),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _split_info(builder, folder: pathlib.Path, split: str, lengths: list[int]):
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name="mnist", split=split, filetype_suffix="tfrecord"
    )
    return tfds.core.SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=0, filename_template=template
    )


def command(*arguments: str, tfds: pathlib.Path) -> tuple[str, dict[str, float]]:
    """What `mnist-gan` prints with these arguments; its CPU seconds and peak memory, MiB."""
    environment = {**os.environ, tfds_store.TFDS_VARIABLE: str(tfds)}
    environment.pop(data_config.DATA_DIR_VARIABLE, None)
    peak = 0
    with tempfile.TemporaryFile("w+") as printed:
        program = [sys.executable, "-m", "pipeline", *arguments]
        process = subprocess.Popen(program, stdout=printed, env=environment)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            sizes = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
            peak = max([peak, *map(int, sizes)])
            time.sleep(0.1)
        process.returncode = ended[1]
        printed.seek(0)
        return printed.read(), {
            "CPU s": round(ended[2].ru_utime + ended[2].ru_stime, 1),
            "MiB": round(peak / 2**10),
        }


def grow(
    count: int, mnist: source.DataSource, root: pathlib.Path, workers: int
) -> dict[str, dict[str, float]]:
    """What each node takes with `count` images, and its seconds on so many workers."""
    tfds, workspace, file = root / "tfds", root / "workspace", root / "pipeline.json"
    print(f"made {count:,} images in {make(count, mnist, tfds):.0f} s", file=sys.stderr)
    settings = ["--dataset", "mnist", "--preset", "standard", "--workspace", str(workspace)]
    settings += [part for one in SHORT for part in ("--set", one)]
    settings += ["--set", f"train_examples={count - 2 * HELD_OUT}"]
    command("compile", *settings, "--to", "ir", str(file), tfds=tfds)
    found: dict[str, dict[str, float]] = {}
    for node in json.loads(file.read_text())["nodes"]:
        arguments = ("node", node, "--ir", str(file), "--run-id", "one", "--json")
        printed, found[node] = command(*arguments, tfds=tfds)
        found[node]["s"] = _seconds(printed).get(node, 0.0)
        print(f"{node}: {found[node]}", file=sys.stderr)
    if not workers:
        return found
    ports = free_ports(workers)
    program = [sys.executable, "-m", "pipeline", "worker", "--port"]
    pools = [subprocess.Popen([*program, str(port)], stdout=subprocess.DEVNULL) for port in ports]
    try:
        time.sleep(30)  # that the pools take to listen
        engine = "workers://" + ",".join(f"localhost:{port}" for port in ports)
        again = ("--engine", engine, "--from", "MnistExampleGen", "--json")
        printed, _ = command("run", *settings, *again, tfds=tfds)
    finally:
        for pool in pools:
            pool.terminate()
            pool.wait()
    seconds = _seconds(printed)
    for node in NODES_ON_WORKERS:
        found[node]["s on workers"] = seconds[node]
    return found


def _seconds(printed: str) -> dict[str, float]:
    return pipeline.seconds({"wall": 0.0, **json.loads(printed)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, action="append")
    parser.add_argument("--workers", type=int, default=2, help="0: only in this process")
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, help="keep the workspaces in this folder")
    options = parser.parse_args()
    counts = sorted(options.examples or [70_000, 700_000])
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or pathlib.Path(temporary)
        given = options.data_dir or data_config.default_data_dir("mnist")
        data = data_config.DataConfig(dataset="mnist", data_dir=given)
        mnist = source.resolve(data, root / "mnist")
        done = root / "growth.json"  # with --keep it goes on from what is there
        columns = json.loads(done.read_text()) if done.is_file() else {}
        for count in counts:
            if str(count) not in columns:
                columns[str(count)] = grow(count, mnist, root / str(count), options.workers)
                write_atomically(done, json.dumps(columns, indent=2))
    kinds = ("CPU s", "MiB", "s", "s on workers")
    print("| node | " + " | ".join(f"{c:,}: {', '.join(kinds)}" for c in counts), "| CPU us each |")
    print("| --- |" + " --- |" * len(counts) + " ---: |")
    first, last = columns[str(counts[0])], columns[str(counts[-1])]
    for node in first:
        cells = [
            ", ".join(f"{columns[str(count)][node].get(kind, 0):,.0f}" for kind in kinds)
            for count in counts
        ]
        growth = last[node]["CPU s"] - first[node]["CPU s"]
        each = growth / max(1, counts[-1] - counts[0]) * 1e6
        print(f"| {node} | {' | '.join(cells)} | {each:.0f} |")


if __name__ == "__main__":
    main()
