"""How far real splits are from each other, as SpanDrift measures it: where thresholds come from.

    python -m benchmarks.drift

Needs MNIST's original files; in the order of these the writers differ from one end to the other.
"""

import argparse
import gzip
import pathlib

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

from components.span_drift import label_drift
from datasets.data_config import default_data_dir
from metrics.two_sample import two_sample

_LOOKED_AT = 2_000


def _read(path: pathlib.Path) -> np.ndarray:
    """An IDX file: uint8 [N] or [N, 28, 28, 1]."""
    content = gzip.decompress(path.read_bytes())
    size = [int.from_bytes(content[4 * i : 4 * i + 4], "big") for i in range(1, content[3] + 1)]
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(size)).reshape(size)
    return values[..., None] if values.ndim == 3 else values


def main() -> None:
    """Prints one line of a Markdown table for each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=default_data_dir("mnist"), type=pathlib.Path)
    folder = parser.parse_args().data_dir
    train, train_labels, test, test_labels = (
        _read(folder / f"{split}-{kind}-ubyte.gz")
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )
    found = load_digits()
    digits = np.pad(np.kron(found.images, np.ones((3, 3))) * 255 / 16, [(0, 0), (2, 2), (2, 2)])
    digits, half = np.rint(digits).astype(np.uint8)[..., None], len(digits) // 2
    random = np.random.default_rng(0)
    some = random.permutation(len(train))
    one, other = some[:_LOOKED_AT], some[_LOOKED_AT : 2 * _LOOKED_AT]
    few, more = some[:500], some[500:1000]
    fresh = (train[one], train_labels[one])
    no_nine = one[train_labels[one] != 9]
    again = np.concatenate([one, one[train_labels[one] == 3]])
    random.shuffle(again)
    turned = ndimage.rotate(train[other], 10, (1, 2), reshape=False, order=1)
    noisy = np.clip(train[other] + random.normal(0, 10, train[other].shape), 0, 255)
    pairs = {
        "MNIST, random train images": (train[other], train_labels[other], *fresh),
        "MNIST, 500 and 500 of them": (
            train[few],
            train_labels[few],
            train[more],
            train_labels[more],
        ),
        "MNIST, train against test": (test, test_labels, *fresh),
        "MNIST, first against last half of test": (
            *(test[5000:], test_labels[5000:]),
            *(test[:5000], test_labels[:5000]),
        ),
        "scikit-learn's digits, first against last half": (
            *(digits[half:], found.target[half:]),
            *(digits[:half], found.target[:half]),
        ),
        "turned by 10 degrees": (turned, train_labels[other], *fresh),
        "turned by 180 degrees": (train[other, ::-1, ::-1], train_labels[other], *fresh),
        "a tenth less ink": (np.uint8(train[other] * 0.9), train_labels[other], *fresh),
        "noise of 10 grey levels": (noisy.astype(np.uint8), train_labels[other], *fresh),
        "without 9": (train[no_nine], train_labels[no_nine], train[other], train_labels[other]),
        "twice as many 3": (train[again], train_labels[again], train[other], train_labels[other]),
    }
    print("| spans | images told apart (interval) | class shares, bits | by chance |")
    print("| --- | --- | ---: | ---: |")
    for name, (newest, newest_labels, before, before_labels) in pairs.items():
        told = two_sample(newest[:_LOOKED_AT], before[:_LOOKED_AT])
        labels, chance = label_drift(newest_labels.astype(str), before_labels.astype(str))
        print(
            f"| {name} | {told.accuracy:.1%} ({100 * told.accuracy_low:.1f} to "
            f"{100 * told.accuracy_high:.1f}) | {labels:.4f} | {chance:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
