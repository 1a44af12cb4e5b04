"""Columns of a chart as short whole numbers: what the eye cannot see is left out.

A column becomes ``{"s": step, "d": 0 or 1, "v": [...]}``: value = step * v, or step * cumulative
sum of v where ``d`` is 1. Thousands of days of ten columns so fit into a few hundred kB.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = ["decode", "encode", "encode_index", "resolution"]

Array = NDArray[np.float64]
_SECONDS_A_DAY = 86_400


def resolution(values: ArrayLike, levels: int = 2000) -> float:
    """Power of ten that resolves the range of values in at least ``levels`` steps.

    Examples
    --------
    >>> resolution([0.0, 150.0])
    0.01
    """
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    span = float(np.ptp(finite)) if finite.size else 0.0
    return 1.0 if span <= 0.0 else 10.0 ** math.floor(math.log10(span / levels))


def encode(values: ArrayLike, step: float) -> dict[str, Any]:
    """Column rounded to multiples of ``step``; NaN becomes null.

    Examples
    --------
    >>> encode([1.0, 1.1, 1.3], 0.1)
    {'s': 0.1, 'd': 1, 'v': [10, 1, 2]}
    """
    array = np.asarray(values, float)
    finite = np.isfinite(array)
    whole = np.where(finite, np.rint(np.where(finite, array, 0.0) / step), 0.0).astype(np.int64)
    if not finite.all():
        plain = [int(v) if ok else None for v, ok in zip(whole, finite, strict=True)]
        return {"s": step, "d": 0, "v": plain}
    moves = np.diff(whole, prepend=0)
    plainly, by_moves = whole.tolist(), moves.tolist()
    shorter = len(str(by_moves)) < len(str(plainly))
    return {"s": step, "d": int(shorter), "v": by_moves if shorter else plainly}


def decode(column: dict[str, Any]) -> Array:
    """What a reader of the page gets from :func:`encode`."""
    values = np.array([np.nan if v is None else v for v in column["v"]], float)
    return np.asarray(column["s"] * (np.cumsum(values) if column["d"] else values))


def encode_index(index: pd.Index) -> dict[str, Any]:
    """Dates as days (or seconds within days) since 1970; other indexes as row numbers."""
    if not isinstance(index, pd.DatetimeIndex):
        return {"kind": "row", **encode(np.arange(len(index)), 1.0)}
    seconds = index.tz_localize(None).as_unit("s").asi8.astype(float)
    whole_days = bool(np.all(seconds % _SECONDS_A_DAY == 0))
    step = _SECONDS_A_DAY if whole_days else 1
    return {"kind": "date", **encode(seconds, step)}
