"""Reading a price series: its closes on a checked index, and the moves between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError, PriceError
from regimeslot.features.dataset import _day

__all__ = ["as_frame", "kind_of_index", "name_of", "transformed"]


def as_frame(prices: Any, label: str) -> pd.DataFrame:
    """Frame with a checked index and a finite Close, from whatever holds prices."""
    plain = isinstance(prices, pd.Series | pd.DataFrame)  # whose columns may be called "frame"
    source = prices if plain else getattr(prices, "frame", prices)
    if isinstance(source, pd.Series):
        source = source.to_frame("Close")
    if not isinstance(source, pd.DataFrame) or "Close" not in source.columns:
        got = (
            f"columns {[str(c) for c in source.columns]}"
            if isinstance(source, pd.DataFrame)
            else type(prices).__name__
        )
        raise InvalidInputError(
            f"{label} must be Prices, a Series, or a DataFrame with a Close column, got {got}"
        )
    if not (source.index.is_monotonic_increasing and source.index.is_unique):
        raise PriceError(
            f"{label} must be ordered by date without repeats: use sort_index() and drop "
            "duplicated dates"
        )
    if source["Close"].ndim > 1:
        raise InvalidInputError(f"{label} must have one Close column: pick one series first")
    try:
        close = source["Close"].to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{label} must hold numbers: {error}") from error
    bad = ~np.isfinite(close)
    if bad.any():
        raise PriceError(
            f"{label} must be finite, got {close[bad][0]} on {_day(source.index[bad][0])} "
            f"({int(bad.sum())} of {len(close)} rows): drop those rows first"
        )
    return source


def name_of(prices: Any) -> str:
    """Ticker, or the name of the series."""
    if isinstance(prices, pd.DataFrame):
        return "series"
    label = prices.name if isinstance(prices, pd.Series) else getattr(prices, "ticker", None)
    return "series" if label is None else str(label)


def transformed(
    close: pd.Series, transform: str, label: str = "prices"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One-step transformed values, and the moves whose volatility scales them, from row 1 on."""
    level = close.to_numpy(dtype=float)
    if transform == "log-return":
        positive = level > 0
        if not positive.all():
            worst = int(np.argmin(positive))
            raise PriceError(
                f"log-returns of {label} need positive values, got {level[worst]} on "
                f'{_day(close.index[worst])}: only prices have log-returns, use transform="diff" '
                'or "level" for other series'
            )
        moves = np.log(level[1:] / level[:-1])
        values = moves
    else:
        moves = np.diff(level)
        values = moves if transform == "diff" else level[1:]
    if len(moves) and not moves.any():
        raise PriceError(f"{label} never move: all {len(level)} values are {level[0]}")
    return values, moves


def kind_of_index(index: pd.Index) -> str:
    """What an index counts in, in words; only series of the same kind can be put side by side."""
    if isinstance(index, pd.DatetimeIndex):
        return f"dates in {index.tz}" if index.tz is not None else "dates without time zone"
    return type(index).__name__ if isinstance(index, pd.PeriodIndex) else "positions"
