"""Rows of whatever data a target takes: their index, slices, and a future rewritten."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError

__all__ = ["index_of", "position", "rewrite", "rows_of"]

_HUGE = 1e6


def rewrite(part: Any, start: int, way: str, rng: np.random.Generator) -> Any:
    """Copy of ``part`` whose rows from ``start`` on are replaced, or left away.

    New rows are drawn from the old ones whole, so that a bar keeps its high above its low, and
    then scaled (where a column is positive throughout) or shifted.
    """
    if way == "cut off":
        return rows_of(part, 0, start)
    if _holds_frame(part):
        return dataclasses.replace(part, frame=rewrite(part.frame, start, way, rng))
    if not isinstance(part, pd.DataFrame | pd.Series):
        array = np.asarray(part)
        table = pd.DataFrame(array.reshape(len(array), -1))
        return rewrite(table, start, way, rng).to_numpy().reshape(array.shape)
    count = len(part) - start
    drawn = rng.integers(0, len(part), size=max(count, 0))
    noise = rng.standard_normal(max(count, 0))
    if isinstance(part, pd.DataFrame):
        columns = {c: _rewrite_column(part[c], start, drawn, noise, way) for c in part.columns}
        return pd.DataFrame(columns, index=part.index)
    return _rewrite_column(part, start, drawn, noise, way)


def _rewrite_column(
    column: pd.Series,
    start: int,
    drawn: NDArray[np.intp],
    noise: NDArray[np.float64],
    way: str,
) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return column
    old = column.to_numpy(dtype=float)
    new = old.copy()
    size = _HUGE if way == "huge" else 1.0
    if (old > 0).all():
        new[start:] = size * old[drawn] * np.exp(0.5 * noise)
    else:
        spread = float(np.nanstd(old)) or 1.0
        new[start:] = size * (old[drawn] + spread * noise)
    return pd.Series(new, index=column.index, name=column.name)


def _holds_frame(part: Any) -> bool:
    """Whether this is a ``Prices`` object; a frame's own column may be called "frame" too."""
    return dataclasses.is_dataclass(part) and hasattr(part, "frame")


def index_of(part: Any) -> pd.Index:
    """Index of a frame, series or ``Prices`` object; positions for an array."""
    part = part.frame if _holds_frame(part) else part
    if isinstance(part, pd.DataFrame | pd.Series):
        return part.index
    return pd.RangeIndex(len(part))


def position(part: Any, index: pd.Index, t: int) -> int:
    """First row of ``part`` that belongs to row t of the first argument or later."""
    own = index_of(part)
    if _holds_frame(part) or isinstance(part, pd.DataFrame | pd.Series):
        return int(own.searchsorted(index[t]))
    if len(own) != len(index):
        raise InvalidInputError(
            f"an array beside data of {len(index)} rows must have as many, got {len(own)}"
        )
    return t


def rows_of(part: Any, start: int, stop: int) -> Any:
    """Rows ``start`` to ``stop`` of whatever it is."""
    if _holds_frame(part):
        return dataclasses.replace(part, frame=part.frame.iloc[start:stop])
    if isinstance(part, pd.DataFrame | pd.Series):
        return part.iloc[start:stop]
    return part[start:stop]
