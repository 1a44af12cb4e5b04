"""What every comparison asks of its input: finite series of one length, whole numbers in range."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError

__all__ = ["as_series", "as_share", "as_whole", "require_same_rows"]

Array = NDArray[np.float64]


def as_series(values: ArrayLike, name: str) -> Array:
    """One dimension of finite numbers."""
    series = np.asarray(values, np.float64)
    if series.ndim != 1 or series.size == 0:
        raise InvalidInputError(
            f"{name} must be one dimension of numbers, got shape {series.shape}"
        )
    bad = ~np.isfinite(series)
    if bad.any():
        raise InvalidInputError(
            f"{name} must be finite, got {series[bad][0]} in row {int(np.argmax(bad))}; "
            "drop that row from both models"
        )
    return series


def require_same_rows(first: ArrayLike, second: ArrayLike, what: str = "both losses") -> None:
    """Refuse two series of different lengths, or of different indices where both have one."""
    n_first, n_second = np.shape(first)[0], np.shape(second)[0]
    if n_first != n_second:
        raise InvalidInputError(f"{what} need the same rows, got {n_first} and {n_second}")
    one, other = (getattr(values, "index", None) for values in (first, second))
    equals = getattr(one, "equals", None)
    if equals is not None and hasattr(other, "equals") and not equals(other):
        raise InvalidInputError(f"{what} need the same index; align them first")


def as_whole(value: int, name: str, smallest: int) -> int:
    """A whole number from ``smallest``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < smallest:
        raise InvalidInputError(f"{name} must be a whole number from {smallest}, got {value!r}")
    return int(value)


def as_share(value: float, name: str) -> float:
    """A number strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise InvalidInputError(f"{name} must be a number between 0 and 1, got {value!r}")
    if not 0.0 < value < 1.0:
        raise InvalidInputError(f"{name} must lie between 0 and 1, got {value!r}")
    return float(value)
