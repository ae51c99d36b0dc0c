"""The questions that every metric asks of its arguments, answered by name. NumPy only."""

import numpy as np


def features(name: str, values: np.ndarray, *, at_least: int = 1) -> np.ndarray:
    """Returns `values` as float64 [N, D] with N >= `at_least` and D >= 1, all finite.

    Raises:
      ValueError: not numbers, another shape, too few rows, NaN or infinity; `name` is in the text.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got {values.dtype}")
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name} must have shape [N, D], got {list(values.shape)}")
    if len(values) < at_least:
        raise ValueError(f"{name} must have at least {at_least} rows, got {len(values)}")
    return finite(name, values)


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """Returns `values` as float64 of the same shape, all finite.

    Raises:
      ValueError: a value is NaN or infinite; `name` and how many is in the text.
    """
    values = np.asarray(values, np.float64)
    good = np.isfinite(values)
    if not good.all():
        raise ValueError(
            f"{name} holds {int(good.size - good.sum())} values that are NaN or infinite"
        )
    return values


def same_width(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> None:
    """Raises ValueError unless the rows of `a` and `b` are equally long."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{name_a} and {name_b} must have the same width, got {a.shape[1]} and {b.shape[1]}"
        )


def labels(name: str, values: np.ndarray, *, count: int | None, num_classes: int) -> np.ndarray:
    """Returns `values` as int64 [count] after checking that they lie in 0..num_classes-1.

    Args:
      name: of the argument, for the message.
      values: the labels.
      count: how many there must be; None: any number.
      num_classes: how many classes there are.

    Raises:
      ValueError: not integers, another shape, or out of range.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iu" or values.ndim != 1 or count not in (None, len(values)):
        wanted = "N" if count is None else count
        raise ValueError(
            f"{name} must be integers of shape [{wanted}], "
            f"got {values.dtype} of shape {list(values.shape)}"
        )
    if len(values) and (values.min() < 0 or values.max() >= num_classes):
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1}, got {values.min()}..{values.max()}"
        )
    return values.astype(np.int64)
