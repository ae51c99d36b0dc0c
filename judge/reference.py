"""The real images that fakes are measured against, and what they score against each other.

Computed once for each (data, extractor, number of images) and kept in a cache folder, because none
of it changes from one generator to the next.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import math
import pathlib
from collections.abc import Callable

import numpy as np

from common.files import atomic_path
from datasets.examples import Split
from metrics import features, frechet, manifold, memorisation, pixels
from metrics import labels as labels_lib

CACHE_VARIABLE = "MNIST_GAN_CACHE_DIR"
NEIGHBOURS = 5  # k of precision, recall, density and coverage
MANIFOLD_SAMPLE = 10_000  # rows at most: these metrics compare all with all
MEMORY_SAMPLE = 5_000  # rows at most that are held against all train images
_FORMAT = 4  # of the cache files; raise it when their content changes

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Which data set the real images are of."""

    dataset: str
    dataset_version: str
    fingerprint: str
    num_classes: int
    class_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Reference:
    """The reference split seen through the extractor, and the floor.

    Attributes:
      data: which data set.
      extractor_name, extractor_digest: which features.
      images: uint8 [M, 28, 28, 1], the test split.
      labels: int64 [M].
      features: float32 [M, D].
      predicted: int64 [M], the classes that the extractor sees.
      num_fakes: how many fakes this reference is for: what the config asks for, at most as many
        as the train split holds.
      train_images, train_labels, train_features: the train split.
      radii: float64 [M], squared distance of each reference image's features to the NEIGHBOURS-th
        nearest other.
      to_train, to_train_pixels: float64 [at most MEMORY_SAMPLE], distance of reference images,
        evenly spread over the split, to the nearest train image, in features and in pixels.
      real_figures: what `num_fakes` real train images, classes as in the fakes, score against the
        reference: `fid` (the floor), `precision`, `recall`, `density`, `coverage`,
        `class_coverage`, the least coverage within a class, `pixel_kld` and `sharpness`.
    """

    data: Dataset
    extractor_name: str
    extractor_digest: str
    images: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    predicted: np.ndarray
    num_fakes: int
    train_images: np.ndarray
    train_labels: np.ndarray
    train_features: np.ndarray
    radii: np.ndarray
    to_train: np.ndarray
    to_train_pixels: np.ndarray
    real_figures: dict[str, float]

    @property
    def real_sample(self) -> np.ndarray:
        """Features of the real train images that the floor is measured on, [num_fakes, D]."""
        rows = _floor_rows(self.train_labels, self.class_counts(), self.num_fakes)
        return self.train_features[rows]

    @functools.cached_property
    def class_floors(self) -> dict[int, float | None]:
        """FID of those train images within each class of the reference."""
        rows = _floor_rows(self.train_labels, self.class_counts(), self.num_fakes)
        classes = self.data.num_classes
        return labels_lib.per_class_frechet(
            labels_lib.class_stats(self.features, self.labels, classes),
            labels_lib.class_stats(self.train_features[rows], self.train_labels[rows], classes),
        )

    @property
    def floor(self) -> float:
        """FID of real train images against the reference."""
        return self.real_figures["fid"]

    @property
    def accuracy(self) -> float:
        """The extractor's accuracy on the real reference images."""
        return float(np.mean(self.predicted == self.labels))

    def class_counts(self) -> np.ndarray:
        """int64 [num_classes], how often each class occurs in the reference."""
        return np.bincount(self.labels, minlength=self.data.num_classes)


def load(
    data: Dataset,
    read: Callable[[str], Split],
    extractor: features.Extractor,
    classifier: features.Extractor,
    num_fakes: int,
    cache_dir: str | None,
) -> Reference:
    """The reference for `num_fakes` fakes, from the cache where it is there.

    Args:
      data: which data set.
      read: gives the splits "test" and "train"; not called where the cache has the result.
      extractor: gives the features.
      classifier: gives the classes; the same where that one knows any.
      num_fakes: as the config asks; lowered to the size of the train split.
      cache_dir: folder for the cache, None for none.
    """
    path = None
    if cache_dir and data.fingerprint:
        key = f"{_FORMAT} {data.fingerprint} {extractor.digest} {classifier.digest} {num_fakes}"
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        path = pathlib.Path(cache_dir, f"reference-{name}.npz")
        if (arrays := _read_cache(path)) is not None:
            return Reference(
                data=data,
                extractor_name=extractor.name,
                extractor_digest=extractor.digest,
                **arrays,
            )
    reference = build(data, extractor, classifier, read("test"), read("train"), num_fakes)
    if path is not None:
        _write_cache(path, reference)
    return reference


def build(
    data: Dataset,
    extractor: features.Extractor,
    classifier: features.Extractor,
    test: Split,
    train: Split,
    num_fakes: int,
) -> Reference:
    """Computes a Reference from images; arguments as in `load`."""
    num_fakes = min(num_fakes, len(train.labels))
    seen, probabilities = look(test.images, extractor, classifier)
    train_features = extractor.features(train.images)
    spread = slice(None, None, -(-len(test.labels) // MEMORY_SAMPLE))
    return Reference(
        data=data,
        extractor_name=extractor.name,
        extractor_digest=extractor.digest,
        images=test.images,
        labels=test.labels,
        features=seen,
        predicted=probabilities.argmax(axis=1).astype(np.int64),
        num_fakes=num_fakes,
        train_images=train.images,
        train_labels=train.labels,
        train_features=train_features,
        to_train=memorisation.nearest(seen[spread], train_features)[0],
        to_train_pixels=memorisation.nearest(
            memorisation.pixel_rows(test.images[spread]), memorisation.pixel_rows(train.images)
        )[0],
        **against_real(test, seen, train, train_features, num_fakes, data.num_classes),
    )


def against_real(
    test: Split,
    test_features: np.ndarray,
    train: Split,
    train_features: np.ndarray,
    num_fakes: int,
    num_classes: int,
) -> dict:
    """What real train images score against the reference: `radii` and `real_figures`."""
    counts = np.bincount(test.labels, minlength=num_classes)
    rows = _floor_rows(train.labels, counts, num_fakes)
    sample = train_features[rows]
    within = class_coverage(test_features, test.labels, sample, train.labels[rows])
    radii = manifold.squared_radii(test_features, NEIGHBOURS)
    figures = {
        "fid": frechet.frechet_distance_from_features(sample, test_features),
        **manifold_figures(test_features, sample[:MANIFOLD_SAMPLE], radii),
        "class_coverage": min(within.values(), default=math.nan),
        **pixel_shape(test.images, train.images[rows][:MANIFOLD_SAMPLE]),
    }
    return {"radii": radii, "real_figures": figures}


def _floor_rows(train_labels: np.ndarray, counts: np.ndarray, num_fakes: int) -> np.ndarray:
    return stratified_sample(train_labels, apportion(counts, num_fakes), seed=0)


def look(
    images: np.ndarray, extractor: features.Extractor, classifier: features.Extractor
) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] and class probabilities [N, C], float32, of uint8 images."""
    if extractor is classifier:
        return extractor.features_and_probabilities(images)
    return extractor.features(images), classifier.features_and_probabilities(images)[1]


def manifold_figures(real: np.ndarray, fake: np.ndarray, radii: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage of features, all with k = NEIGHBOURS.

    Kynkäänniemi et al. print precision and recall with k = 3; one k for all four costs half.
    """
    scores = manifold.manifold_scores(real, fake, NEIGHBOURS, real_radii=radii)
    return dataclasses.asdict(scores)


def pixel_shape(real: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """How the pixels of uint8 images are shaded against real ones, with no feature involved.

    Returns:
      `pixel_kld`, the KLD of their grey levels, and `sharpness`, theirs over that of the real ones
      (NaN where those have none).
    """
    sharpness = pixels.sharpness(real)
    return {
        "pixel_kld": pixels.intensity_kld(
            pixels.intensity_histogram(real), pixels.intensity_histogram(images)
        ),
        "sharpness": pixels.sharpness(images) / sharpness if sharpness > 0 else math.nan,
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


_ARRAYS = (
    "images",
    "labels",
    "features",
    "predicted",
    "train_images",
    "train_labels",
    "train_features",
    "radii",
    "to_train",
    "to_train_pixels",
)


def _read_cache(path: pathlib.Path) -> dict | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {
                **{name: archive[name] for name in _ARRAYS},
                "num_fakes": int(archive["num_fakes"]),
                "real_figures": json.loads(str(archive["real_figures"])),
            }
    except FileNotFoundError:
        return None
    except Exception as error:  # a cache that can't be read is made anew, whatever is wrong with it
        _log.warning("%s can't be read (%s); it is computed again", path, error)
        return None


def _write_cache(path: pathlib.Path, reference: Reference) -> None:
    try:
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                num_fakes=reference.num_fakes,
                real_figures=json.dumps(reference.real_figures),
                **{name: getattr(reference, name) for name in _ARRAYS},
            )
    except OSError as error:
        _log.warning("the judge's reference could not be kept in %s: %s", path, error)
