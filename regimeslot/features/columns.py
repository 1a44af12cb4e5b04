"""Feature columns as pure functions of arrays: row i holds what is known at the close of row i.

Nothing here is lagged: :func:`regimeslot.features.make_dataset` shifts every column by one row,
in one place. Every column but ``last_return``, the lags and the two log levels is free of units.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["CLIP", "OFFSET", "RETURN", "Volatility", "lag_columns", "market_columns"]
__all__ += ["own_columns", "range_columns"]

Array = NDArray[np.float64]
Columns = dict[str, Array]

OFFSET = "log_vol"
RETURN = "last_return"

HALF_LIVES = (2, 5, 11, 21, 63, 252)
RANGE_HALF_LIVES = (1, 2, 5, 21, 63)
LAGS = 4
MEAN_LAGS = 12
YEAR = 252

_NORMAL = np.sqrt(np.pi / 2)  # E|r| times this is the standard deviation of a normal r
_FLOOR = 1e-4  # share of the mean absolute return so far that keeps logarithms finite
CLIP = 4.0
_DRAWDOWN_CLIP = 8.0  # wider than CLIP: a crashed stock gets to 5, only a pegged price beyond


def ewma(values: Array, half_life: float) -> Array:
    """Mean of the rows so far under weights ``2^(-age / half_life)`` that sum to one.

    The recursion runs forward only, so a later row cannot change an earlier result by even a bit.
    """
    decay = 0.5 ** (1.0 / half_life)
    weighted = lfilter([1.0], [1.0, -decay], values)
    total = (1.0 - decay ** np.arange(1.0, len(values) + 1.0)) / (1.0 - decay)
    return np.asarray(weighted / total)


class Volatility:
    """EWMA volatilities ``e_h = sqrt(pi/2) EWMA_h(|r|) + floor`` of one return series.

    The floor is 1e-4 of the mean absolute return so far: causal, and in the units of ``r``, so
    that the ratios below do not depend on units and stay finite when a price stands still.
    Rows before the first move have no scale at all and come out as nan.
    """

    def __init__(self, returns: Array) -> None:
        self.returns = returns
        self.size = np.abs(returns)
        running_mean = np.cumsum(self.size) / np.arange(1.0, len(returns) + 1.0)
        self.floor = np.where(running_mean > 0, _FLOOR * running_mean, np.nan)
        self._by_half_life: dict[int, Array] = {}

    def __getitem__(self, half_life: int) -> Array:
        if half_life not in self._by_half_life:
            self._by_half_life[half_life] = _NORMAL * ewma(self.size, half_life) + self.floor
        return self._by_half_life[half_life]

    def log(self, half_life: int) -> Array:
        """Natural logarithm of ``e_h``."""
        return np.asarray(np.log(self[half_life]))


def own_columns(vol: Volatility) -> Columns:
    """Fifteen columns of the series' own past returns.

    Volatility over five half-lives against the base ``e_11``, its level, fat tails (rms against
    mean absolute size), the downside's share, the last return and its size in volatilities, the
    5-, 21- and 252-row return and the 252-row drawdown in volatilities.
    """
    returns, size, floor, base = vol.returns, vol.size, vol.floor, vol.log(11)
    columns = {f"vol_{h}": vol.log(h) - base for h in HALF_LIVES if h != 11}
    columns["log_vol_21"] = vol.log(21)
    columns["tail_21"] = np.log((np.sqrt(ewma(returns**2, 21)) + floor) / vol[21])
    losses = np.where(returns < 0, size, 0.0)
    for h in (5, 21):
        # The floor stands on both sides of the ratio: no moves means "half of them down".
        columns[f"downside_{h}"] = (ewma(losses, h) + 0.5 * floor) / (ewma(size, h) + floor) - 0.5
    last_z = np.clip(returns / vol[11], -CLIP, CLIP)
    columns["last_z"] = last_z
    columns["last_abs_z"] = np.abs(last_z)
    path = np.cumsum(returns)
    for n in (5, 21, YEAR):
        columns[f"trend_{n}"] = np.clip(_change(path, n) / (vol[21] * np.sqrt(n)), -CLIP, CLIP)
    peak = pd.Series(path).rolling(YEAR, min_periods=1).max().to_numpy()
    columns["drawdown_252"] = np.maximum((path - peak) / (vol[21] * np.sqrt(YEAR)), -_DRAWDOWN_CLIP)
    return columns


def market_columns(vol: Volatility) -> Columns:
    """Four columns of another series, usually the index: its volatility ratios and last move."""
    return {
        "market_vol_2": vol.log(2) - vol.log(63),
        "market_vol_5": vol.log(5) - vol.log(63),
        "market_vol_21": vol.log(21) - vol.log(252),
        "market_last_z": np.clip(vol.returns / vol[21], -CLIP, CLIP),
    }


def lag_columns(values: Array) -> Columns:
    """Last four values and the mean of the last twelve, for series whose mean is forecastable."""
    columns = {f"lag_{k + 1}": _shift(values, k) for k in range(LAGS)}
    columns["mean_12"] = pd.Series(values).rolling(MEAN_LAGS, min_periods=1).mean().to_numpy()
    return columns


def range_columns(bars: pd.DataFrame, vol: Volatility) -> Columns:
    """Seven columns of the day's range, which measures a day's volatility far better than |r|.

    ``g = sqrt(max(0, (log H/L)^2 / 2 - (2 log 2 - 1) (log C/O)^2))``, Garman and Klass (1980).
    A flat or missing bar says nothing about the range (indices of the 1950s, illiquid pairs):
    there ``sqrt(pi/2) |r|`` stands in, which has the same scale.

    Parameters
    ----------
    bars : DataFrame
        Open, High, Low, Close on the rows of ``vol.returns``
    vol : Volatility
        of the same rows
    """
    opened, high, low, close = (bars[c].to_numpy(float) for c in ("Open", "High", "Low", "Close"))
    usable = usable_bars(bars)
    with np.errstate(invalid="ignore", divide="ignore"):
        width = np.log(high / low)
        body = np.log(close / opened)
        variance = 0.5 * width**2 - (2 * np.log(2) - 1) * body**2
        location = 2.0 * (close - low) / (high - low) - 1.0
    measured = np.sqrt(np.maximum(np.where(usable, variance, 0.0), 0.0))
    daily = np.where(usable, measured, _NORMAL * vol.size)
    base = vol.log(11)
    columns = {f"range_{h}": np.log(ewma(daily, h) + vol.floor) - base for h in RANGE_HALF_LIVES}
    columns["range_last"] = np.log(daily + vol.floor) - base
    columns["close_location"] = np.where(usable, np.clip(location, -1.0, 1.0), 0.0)
    return columns


def usable_bars(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows whose four prices are positive and span a range."""
    prices = bars[["Open", "High", "Low", "Close"]].to_numpy(float)
    positive = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    return np.asarray(positive & (prices[:, 1] > prices[:, 2]))


def _change(path: Array, n: int) -> Array:
    """``path_i - path_{i-n}`` for a path that starts from 0, which also stands before row 0."""
    before = np.zeros_like(path)
    before[n:] = path[:-n] if n < len(path) else path[:0]
    return path - before


def _shift(values: Array, k: int) -> Array:
    out = np.full(len(values), np.nan)
    out[k:] = values[: len(values) - k]
    return out
