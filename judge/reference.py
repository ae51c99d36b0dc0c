"""The real images that fakes are measured against, and what they score against each other.

Computed once for each (data, extractors, number of fakes, source of the metrics) and kept in a
cache folder, because none of it changes from one generator to the next. What does not depend on the
number of fakes is kept once.
"""

import dataclasses
import functools
import hashlib
import logging
import math
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import numpy as np

from common import mapped
from common.files import atomic_path
from datasets.examples import Split
from datasets.info import DatasetInfo
from metrics import (
    features,
    frechet,
    ink,
    kernel,
    manifold,
    neighbours,
    own_extractors,
    relative,
    two_sample,
)

NEIGHBOURS = 5  # k of precision, recall, density and coverage
SAMPLE = 10_000  # images at most where all are compared with all
MEMORY_SAMPLE = 5_000  # test images at most that are held against all train images
MEMORY_FAKES = 2_500  # fakes at most, of which only a share is asked
_BLOCK = 10_240  # images that an extractor is given at once, a multiple of its own chunks
_FORMAT = 5  # of the cache files; raise it when their content changes

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real images seen through the extractors, and what they score against each other.

    Attributes:
      data: which data set.
      extractors: name of each extractor ("classifier", "pooled", ...) to the digest of its weights.
      extractor_name: the first extractor's own name.
      num_fakes: how many fakes this reference is for: what the config asks for, at most as many
        as the train split holds.
      images, labels: uint8 [M, 28, 28, 1] and int64 [M], the test split.
      predicted: int64 [M], the classes that the classifier sees.
      features: extractor -> float32 [M, D] of the test split.
      train_images, train_labels, train_features: the same of the train split.
      folds: extractor -> folds of train images, for `num_fakes` fakes.
      scores: of real images: key of a metric -> value.
      radii: float64 [M], squared distance of each test image's features to the NEIGHBOURS-th
        nearest other.
      far_near: space -> float64 [2], the distances to the nearest train image that the share
        `neighbours.FAR` of test images stay below, and the share `neighbours.NEAR`; also of
        "trimmed", "ink" and "place", and of "repeats" for train images among themselves.
      usual_holes: int64 [num_classes], how many holes most train images of a class have.
    """

    data: DatasetInfo
    extractors: dict[str, str]
    extractor_name: str
    num_fakes: int
    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    features: dict[str, np.ndarray]
    train_images: np.ndarray
    train_labels: np.ndarray
    train_features: dict[str, np.ndarray]
    folds: dict[str, relative.Folds]
    scores: dict[str, float]
    radii: np.ndarray
    far_near: dict[str, np.ndarray]
    usual_holes: np.ndarray

    @property
    def first(self) -> str:
        """The extractor of FID, KID, precision and recall."""
        return next(iter(self.extractors))

    @property
    def extractor_digest(self) -> str:
        return self.extractors[self.first]

    @property
    def accuracy(self) -> float:
        """The classifier's accuracy on the real test images."""
        return float(np.mean(self.predicted == self.labels))

    def class_counts(self) -> np.ndarray:
        """int64 [num_classes], how often each class occurs in the reference."""
        return np.bincount(self.labels, minlength=self.data.num_classes)

    @functools.cached_property
    def sample_rows(self) -> np.ndarray:
        """Rows of at most SAMPLE train images, with the classes of the fakes."""
        return _sample_rows(self.train_labels, self.class_counts(), self.num_fakes)

    @functools.cached_property
    def sample(self) -> np.ndarray:
        """uint8 [at most SAMPLE, 28, 28, 1], those train images, to set beside the fakes."""
        return self.train_images[self.sample_rows]

    @functools.cached_property
    def sample_ink(self) -> dict[str, np.ndarray]:
        """Statistics of ink of `sample`."""
        return ink.statistics(self.sample)

    @functools.cached_property
    def rare(self) -> np.ndarray:
        """Places where train images have hardly ever ink."""
        return neighbours.rare_places(self.train_images)


@dataclasses.dataclass(frozen=True)
class Extractors:
    """The extractors: the first one's FID is the one that is printed, all are asked.

    Attributes:
      all: name to extractor, in order.
      classifier: gives the classes; the first where that one knows any.
    """

    all: dict[str, features.NetworkExtractor]
    classifier: features.NetworkExtractor

    def see(self, images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Features by extractor, and class probabilities [N, C], float32, of uint8 images."""
        own, probabilities = self.classifier.features_and_probabilities(images)
        seen = {
            name: own if extractor is self.classifier else extractor.features(images)
            for name, extractor in self.all.items()
        }
        return seen, probabilities


@functools.lru_cache(maxsize=2)
def load_extractors(own: str | None = None) -> Extractors:
    """The extractors of some data.

    Args:
      own: the data's own (`own_extractors.made`); None: the pinned ones.

    Raises:
      ExtractorError: a file is missing, altered or no extractor.
    """
    found = (
        own_extractors.load(own)
        if own
        else {name: features.load_extractor(path) for name, path in features.EXTRACTORS.items()}
    )
    # Images without classes are "classified" by the turns that they were not given.
    classifier = next(extractor for extractor in found.values() if extractor.num_classes)
    return Extractors(found, classifier)


def load(
    data: DatasetInfo,
    read: Callable[[str], Split],
    extractors: Extractors,
    num_fakes: int,
    cache_dir: str | None,
) -> Reference:
    """The reference for `num_fakes` fakes, from the cache where it is there.

    Args:
      data: which data set.
      read: gives the splits "test" and "train"; not called where the cache has the result.
      extractors: the extractors.
      num_fakes: as the config asks; lowered to the size of the train split.
      cache_dir: folder for the cache, None for none.
    """
    digests = {name: extractor.digest for name, extractor in extractors.all.items()}
    cache = Cache.of(data, extractors, cache_dir)
    real = cache.get("real", lambda: _extract(read("test"), read("train"), extractors))
    arrays = {name: real[name] for name in ("images", "labels", "predicted")}
    arrays |= {f"train_{name}": real[f"train_{name}"] for name in ("images", "labels")}
    num_fakes = min(num_fakes, len(real["train_labels"]))
    seen = {name: real[f"features {name}"] for name in digests}
    train_seen = {name: real[f"train_features {name}"] for name in digests}
    scores = cache.get(
        f"scores-{num_fakes}",
        lambda: _scores(arrays, seen, train_seen, data.num_classes, num_fakes),
    )
    return Reference(
        data=data,
        extractors=digests,
        extractor_name=next(iter(extractors.all.values())).name,
        num_fakes=num_fakes,
        **arrays,
        features=seen,
        train_features=train_seen,
        folds={name: relative.Folds.of_arrays(_below(scores, name)) for name in digests},
        scores={name: float(value) for name, value in _below(scores, "score").items()},
        far_near=_below(scores, "far_near"),
        radii=scores["radii"],
        usual_holes=scores["usual_holes"],
    )


def _below(arrays: dict, prefix: str) -> dict:
    return {
        name.removeprefix(f"{prefix} "): value
        for name, value in arrays.items()
        if name.startswith(f"{prefix} ")
    }


def _extract(test: Split, train: Split, extractors: Extractors) -> dict[str, np.ndarray]:
    seen, probabilities = extractors.see(test.images)
    blocks = [train.images[start : start + _BLOCK] for start in range(0, len(train.images), _BLOCK)]
    train_seen = {
        name: mapped.joined(extractor.features(block) for block in blocks)
        for name, extractor in extractors.all.items()
    }
    return {
        "images": test.images,
        "labels": test.labels,
        "predicted": probabilities.argmax(axis=1).astype(np.int64),
        "train_images": train.images,
        "train_labels": train.labels,
        **{f"features {name}": rows for name, rows in seen.items()},
        **{f"train_features {name}": rows for name, rows in train_seen.items()},
    }


def _sample_rows(train_labels: np.ndarray, counts: np.ndarray, num_fakes: int) -> np.ndarray:
    return stratified_sample(train_labels, apportion(counts, min(num_fakes, SAMPLE)), seed=0)


def _scores(
    arrays: dict,
    seen: dict[str, np.ndarray],
    train_seen: dict[str, np.ndarray],
    num_classes: int,
    num_fakes: int,
) -> dict[str, np.ndarray]:
    """What real images score, and what fakes are held against, flat for the cache."""
    test, labels = arrays["images"], arrays["labels"]
    train, train_labels = arrays["train_images"], arrays["train_labels"]
    counts = np.bincount(labels, minlength=num_classes)
    first = next(iter(seen))
    rows = _sample_rows(train_labels, counts, num_fakes)
    sample, features_of_sample = train[rows], train_seen[first][rows]
    # Beside all else, most of which keeps one core busy.
    beside = futures.ThreadPoolExecutor(1)
    told_apart = {
        suffix: beside.submit(two_sample.two_sample, shown(test), shown(sample))
        for suffix, shown in (("", lambda x: x), ("_binary", two_sample.binarised))
    }
    beside.shutdown(wait=False)
    found: dict[str, np.ndarray] = {}
    folds = {}
    for name in seen:
        folds[name] = relative.real_folds(
            train_seen[name], train_labels, num_fakes, apportion(counts, num_fakes)
        )
        found |= {f"{name} {key}": value for key, value in folds[name].arrays().items()}
    radii = manifold.squared_radii(seen[first], NEIGHBOURS)
    within = class_coverage(seen[first], labels, features_of_sample, train_labels[rows])
    # Other train images than `sample`, as many, where the split has them.
    rest = np.setdiff1d(np.arange(len(train)), rows)
    others = rest[np.random.default_rng(0).permutation(len(rest))[: len(rows)]]
    if len(others) < len(rows) // 2:
        others = rows
    sample_ink, other_ink = ink.statistics(sample), ink.statistics(train[others])
    test_ink = ink.statistics(test)
    holes = np.array(
        [
            np.bincount(
                sample_ink["holes"][train_labels[rows] == label].astype(int), minlength=1
            ).argmax()
            for label in range(num_classes)
        ]
    )
    of_real = {
        "fid": folds[first].fid,
        "fid_test": frechet.frechet_distance_from_features(
            train_seen[first][_sample_rows(train_labels, counts, len(test))], seen[first]
        ),
        "kid": kernel.kernel_distance(features_of_sample, train_seen[first][others])
        if others is not rows
        else 0.0,
        "grey_levels": ink.level_divergence(
            ink.level_histogram(train[others]), ink.level_histogram(sample)
        ),
        "pixel_shift": ink.pixel_shift(train[others], sample),
        **{f"mean_{name}": values.mean() for name, values in sample_ink.items()},
        **{
            f"tell_{name}": ink.one_threshold_accuracy(other_ink[name], values)
            for name, values in sample_ink.items()
        },
        # Thresholds are ratios to these two: none at all is told as one.
        "pieces": max(np.mean(sample_ink["pieces"] > 1), 1 / len(rows)),
        "holes": max(np.mean(sample_ink["holes"] != holes[train_labels[rows]]), 1 / len(rows)),
        **dataclasses.asdict(
            manifold.manifold_scores(seen[first], features_of_sample, NEIGHBOURS, real_radii=radii)
        ),
        "class_coverage": min(within.values(), default=math.nan),
    }
    spread = slice(None, None, -(-len(test) // MEMORY_SAMPLE))
    rare = neighbours.rare_places(train)
    near = neighbours.neighbours(
        {name: values[spread] for name, values in seen.items()},
        test[spread],
        train_seen,
        train,
        ~rare,
    )
    measured = {
        **near.distances,
        "trimmed": near.trimmed,
        "ink": neighbours.tail_scores(
            {name: test_ink[name] for name in ink.TELLING},
            {name: sample_ink[name] for name in ink.TELLING},
        ),
        "place": neighbours.rare_ink(test, rare),
    }
    limits = {
        name: np.quantile(values, [neighbours.FAR, neighbours.NEAR])
        for name, values in measured.items()
    }
    repeats = neighbours.repeats(neighbours.blurred_rows(sample))
    limits["repeats"] = np.quantile(repeats, [neighbours.FAR, 1 - neighbours.FAR])
    of_real |= {
        f"two_sample{suffix}{ending}": getattr(told.result(), field)
        for suffix, told in told_apart.items()
        for ending, field in (("", "accuracy"), ("_auc", "auc"), ("_sure", "sure"))
    }
    return {
        **found,
        **{f"score {name}": np.float64(value) for name, value in of_real.items()},
        **{f"far_near {name}": values for name, values in limits.items()},
        "radii": radii,
        "usual_holes": holes,
    }


def class_coverage(
    real: np.ndarray, real_labels: np.ndarray, fake: np.ndarray, fake_labels: np.ndarray
) -> dict[int, float]:
    """Coverage within each class: one that collapsed is lost in the coverage of all.

    Returns:
      class -> coverage, for the classes with more than NEIGHBOURS real images; 0 where there is no
      fake.
    """
    found = {}
    for label in np.unique(real_labels):
        mine = real[real_labels == label]
        if len(mine) > NEIGHBOURS:
            others = fake[fake_labels == label]
            found[int(label)] = (
                manifold.density_coverage(mine, others, NEIGHBOURS)[1] if len(others) else 0.0
            )
    return found


def apportion(counts: np.ndarray, total: int) -> np.ndarray:
    """Spreads `total` over classes in proportion to `counts` (largest remainders).

    The same counts again when `total` is their sum.

    Returns:
      int64, as long as `counts`, summing to `total`.
    """
    exact = np.asarray(counts, np.float64) * total / np.sum(counts)
    whole = np.floor(exact).astype(np.int64)
    # Ties go to the lower class, whatever the platform's sort does.
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


def stratified_sample(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Indices of a random sample without replacement with `counts[c]` examples of class c.

    A class that has too few gives all; the rest is drawn from what other classes have left.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen, left = [], []
    for label, count in enumerate(counts):
        members = order[labels[order] == label]
        chosen.append(members[:count])
        left.append(members[count:])
    missing = int(np.sum(counts)) - sum(len(members) for members in chosen)
    if missing > 0:
        rest = np.random.default_rng(seed).permutation(np.concatenate(left))
        chosen.append(rest[:missing])
    return np.sort(np.concatenate(chosen))


class Cache:
    """Files of arrays, by what they were made from; without a folder nothing is kept."""

    def __init__(self, folder: str | None, key: str) -> None:
        self._folder = folder
        self._key = hashlib.sha256(f"{_FORMAT} {key}".encode()).hexdigest()[:24]

    @classmethod
    def of(cls, data: DatasetInfo, extractors: Extractors, folder: str | None) -> "Cache":
        """For what is computed of a data set with these extractors and this source."""
        digests = {name: extractor.digest for name, extractor in extractors.all.items()}
        key = f"{data.fingerprint} {digests} {extractors.classifier.digest} {_source()}"
        return cls(folder if data.fingerprint else None, key)

    def get(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of that name, from the file where it is there, else made and written."""
        if self._folder is None:
            return make()
        path = pathlib.Path(self._folder, f"reference-{self._key}-{name}.npz")
        try:
            return mapped.load(path)
        except FileNotFoundError:
            pass
        except Exception as error:  # what can't be read is made again, whatever is wrong with it
            _log.warning("%s can't be read (%s); it is computed again", path, error)
        made: dict[str, Any] = make()  # `savez` has keywords of its own for a type checker
        try:
            with atomic_path(path) as temporary:
                np.savez(temporary, **made)
        except OSError as error:
            _log.warning("the judge's reference could not be kept in %s: %s", path, error)
        return made


@functools.lru_cache(maxsize=1)
def _source() -> str:
    """Digest of the code that real images are measured by: an edit measures them again."""
    digest = hashlib.sha256()
    here = pathlib.Path(__file__)
    metrics = sorted(pathlib.Path(frechet.__file__).parent.glob("*.py"))
    for path in (*metrics, here, here.with_name("measure.py"), here.with_name("held_out.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
