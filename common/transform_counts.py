"""Reads what the Transform counted in the data. Needs no TensorFlow."""

import dataclasses
import os
import pathlib

COUNTS_FILE = "counts"  # lines of "<count> <what> <value>"
LEVEL, LABEL, VALUE = "level", "label", "value"
VALUE_BINS = 64  # of equal width over [-1, 1]


@dataclasses.dataclass(frozen=True)
class Counts:
    """The analysed split in numbers.

    Attributes:
      labels: {label: examples}, labels that occur, ascending.
      levels: {grey level 0..255: pixels}, levels that occur, ascending.
      values: {bin 0..63: pixels} of what the Transform gives, in bins of equal width over [-1, 1];
        empty in workspaces of version 0.1.
    """

    labels: dict[int, int]
    levels: dict[int, int]
    values: dict[int, int]

    @property
    def pixel_mean(self) -> float:
        """Mean grey level."""
        return sum(level * n for level, n in self.levels.items()) / sum(self.levels.values())

    @property
    def pixel_standard_deviation(self) -> float:
        """Standard deviation of the grey levels (of the population, not estimated)."""
        mean = self.pixel_mean
        squares = sum((level - mean) ** 2 * n for level, n in self.levels.items())
        return (squares / sum(self.levels.values())) ** 0.5


def read_counts(transform_graph: str | os.PathLike) -> Counts:
    """Reads the counts from the folder of a TransformGraph artifact.

    Raises:
      FileNotFoundError: the graph was not made by this project's `preprocessing_fn`.
    """
    found: dict[str, dict[int, int]] = {LABEL: {}, LEVEL: {}, VALUE: {}}
    path = pathlib.Path(transform_graph, "transform_fn", "assets", COUNTS_FILE)
    for line in path.read_text().splitlines():
        count, what, value = line.split()
        if float(count) > 0:
            found[what][int(value)] = round(float(count))
    return Counts(*(dict(sorted(found[what].items())) for what in (LABEL, LEVEL, VALUE)))
