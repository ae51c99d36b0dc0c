"""Each metric beside the libraries that people know, on the same features, in one process.

    python -m benchmarks.metrics [--count 10000] [--data-dir DIR]

The libraries are those themselves, their functions from features on, and no formulas rewritten
(but for the textbook's, with SciPy's root). They are the extra `compare`, for this
comparison alone; one that is not installed is named and left out.

Each time is the best of `--repeat`, in seconds. "differs" is the relative difference of the values.
"""

import argparse
import contextlib
import importlib
import math
import os
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from datasets.data_config import default_data_dir
from metrics import kernel, manifold
from metrics.distances import nearest
from metrics.frechet import frechet_distance, frechet_distance_from_features


def of_digits(count: int, data_dir: str) -> dict[str, np.ndarray]:
    """The pinned features of test images and of train images with a little salt on them."""
    from metrics.features import load_extractor
    from metrics.train_extractors import load_splits

    splits, _ = load_splits(data_dir)
    extractor = load_extractor()
    fakes = splits["train"][0][:count].copy()
    fakes[np.random.default_rng(0).random(fakes.shape) < 0.003] = 255
    features = extractor.features(fakes)
    real = extractor.features(splits["test"][0][:count])
    return {"real": real, "fake": features}


class Table:
    """Runs functions, and prints their values and times as they come."""

    def __init__(self, repeat: int):
        self.repeat, self.ours = repeat, {}  # by metric

    def run(self, metric: str, function: Callable[[], float | tuple]) -> None:
        """Times our own `function`; what comes after it under the same name is compared with it."""
        self.beside(metric, "ours", None, lambda module: function())

    def beside(self, metric: str, who: str, module: str | None, function: Callable) -> None:
        """Times `function` of an imported library; one that is not installed is noted instead.

        Args:
          metric: as in `run`.
          who: the library's name, and what is particular about it.
          module: which module of it `function` takes; None: our own.
          function: module -> values.
        """
        try:
            # Before its time is taken: importing torch takes seconds.
            imported = importlib.import_module(module) if module else None
        except ImportError as error:
            print(f"| {metric} | {who} | not installed: {error.name} | | | |", flush=True)
            return
        seconds = math.inf
        for _ in range(self.repeat):
            started = time.perf_counter()
            # Some print as they go; stdout is for the table.
            with contextlib.redirect_stdout(sys.stderr):
                value = function(imported)
            seconds = min(seconds, time.perf_counter() - started)
        values = np.atleast_1d(np.asarray(value, np.float64)).tolist()
        times = differs = ""
        if module:
            our_values, our_seconds = self.ours[metric]
            pairs = zip(our_values, values, strict=False)
            gap = max(abs(a - b) / max(abs(a), 1e-300) for a, b in pairs)
            times = f"{seconds / our_seconds:.1f}"
            differs = f"{gap:.0e}"
        else:
            self.ours[metric] = values, seconds
        told = ", ".join(f"{value:.6g}" for value in values)
        print(f"| {metric} | {who} | {told} | {seconds:.3f} | {times} | {differs} |", flush=True)


def compare(data: dict[str, np.ndarray], table: Table) -> None:
    """All comparisons, the project's own first."""
    real, fake = data["real"].astype(np.float64), data["fake"].astype(np.float64)
    moments = [np.mean(fake, 0), np.cov(fake.T), np.mean(real, 0), np.cov(real.T)]
    torch = tensors = tensor_moments = None
    try:
        torch = importlib.import_module("torch")
        tensors = [torch.from_numpy(array) for array in (fake, real)]
        tensor_moments = [torch.from_numpy(array) for array in moments]
    except ImportError:
        pass  # the rows that need it say so

    fid = "FID from features"
    table.run(fid, lambda: frechet_distance_from_features(data["fake"], data["real"]))

    def fidelity_fid(module):
        stats = [module.fid_features_to_statistics(rows) for rows in tensors]
        return next(iter(module.fid_statistics_to_metric(*stats, False).values()))

    table.beside(fid, "torch-fidelity", "torch_fidelity.metric_fid", fidelity_fid)

    fid = "FID from moments"
    table.run(fid, lambda: frechet_distance(*moments))
    table.beside(fid, "clean-fid", "cleanfid.fid", lambda module: module.frechet_distance(*moments))
    table.beside(
        fid,
        "torchmetrics",
        "torchmetrics.image.fid",
        lambda module: float(module._compute_fid(*tensor_moments)),
    )

    def textbook(module):
        root = module.sqrtm(moments[1] @ moments[3])
        shift = moments[0] - moments[2]
        return shift @ shift + np.trace(moments[1] + moments[3] - 2 * np.real(root))

    table.beside(fid, "textbook formula, SciPy", "scipy.linalg", textbook)

    size = min(1000, len(real))
    one_block = f"KID, all pairs of {size:,}"
    some = slice(size)
    table.run(one_block, lambda: kernel.kernel_distance(fake[some], real[some]))
    table.beside(
        one_block,
        "torch-fidelity",
        "torch_fidelity.metric_kid",
        lambda module: module.kernel_mmd(
            fake[some], real[some], kid_kernel="poly", kid_kernel_poly_degree=3
        ),
    )
    table.beside(
        one_block,
        "clean-fid",
        "cleanfid.fid",
        lambda module: module.kernel_distance(fake[some], real[some], 1, size),
    )
    table.beside(
        one_block,
        "torchmetrics",
        "torchmetrics.image.kid",
        lambda module: float(module.poly_mmd(tensors[0][some], tensors[1][some])),
    )
    table.run("KID, all pairs of all rows", lambda: kernel.kernel_distance(fake, real))

    four = "precision, recall, density, coverage, k = 5"

    def ours_four():
        scores = manifold.manifold_scores(data["real"], data["fake"], 5)
        return scores.precision, scores.recall, scores.density, scores.coverage

    def prdc_four(module):
        scores = module.compute_prdc(real, fake, 5)
        return [float(scores[key]) for key in ("precision", "recall", "density", "coverage")]

    table.run(four, ours_four)
    table.beside(four, "prdc", "prdc", prdc_four)
    two = "precision, recall, k = 3"

    def ours_two():
        scores = manifold.manifold_scores(data["real"], data["fake"], 3)
        return scores.precision, scores.recall

    table.run(two, ours_two)

    def fidelity_two(module):
        scores = module.prc_features_to_metric(
            *tensors, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
        )
        return scores["precision"], scores["recall"]

    table.beside(two, "torch-fidelity", "torch_fidelity.metric_prc", fidelity_two)

    neighbours = "mean distance to the nearest"
    table.run(neighbours, lambda: nearest(data["fake"], data["real"])[0].mean())

    def sklearn_neighbours(module):
        search = module.NearestNeighbors(n_neighbors=1, algorithm="brute").fit(real)
        return search.kneighbors(fake)[0].mean()

    table.beside(neighbours, "scikit-learn", "sklearn.neighbors", sklearn_neighbours)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metrics", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--count", type=int, default=10_000, help="images on either side")
    parser.add_argument("--data-dir", default=default_data_dir("mnist"))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)

    if not options.data_dir:
        parser.error("give --data-dir, the folder of the original MNIST files")
    data = of_digits(options.count, options.data_dir)
    fakes, reals, width = len(data["fake"]), *data["real"].shape
    print(f"{fakes:,} fakes, {reals:,} reals, {width} wide; {os.cpu_count()} cores\n")
    print("| metric | who | value | s | s over ours | differs |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    compare(data, Table(options.repeat))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nhighest memory of the process: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
