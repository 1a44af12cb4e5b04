"""When a model was better: cumulative gains with their band, and whether the winner changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import long_run_variance, newey_west_lags
from regimeslot.evaluation.comparison_checks import (
    as_series,
    as_share,
    as_whole,
    require_same_rows,
)

__all__ = [
    "Fluctuation",
    "block_length",
    "cumulative_band",
    "fluctuation_critical_value",
    "fluctuation_test",
]

Array = NDArray[np.float64]

_PATHS = 400
_BAND_POINTS = 300
_SIMULATED = 4000  # paths behind a critical value: its standard error is about .015
_STEPS = 1000  # at most, of a path


@dataclass(frozen=True, eq=False)
class Fluctuation:
    """Result of :func:`fluctuation_test`.

    Attributes
    ----------
    rows : (m,)
        Last row of each window.
    path : (m,)
        Standardised mean of loss a minus loss b in that window; negative where a was better.
    critical_value : float
        What the largest absolute value stays below with probability ``1 - size`` where both are
        equally good throughout.
    statistic, p : float
        The largest absolute value, and its p-value.
    window : int
    """

    rows: NDArray[np.intp]
    path: Array
    critical_value: float
    statistic: float
    p: float
    window: int


def block_length(n: int, horizon: int = 1) -> int:
    """Rows of a bootstrap block: the cube root of n, at least 5 and twice the horizon.

    Examples
    --------
    >>> block_length(1000), block_length(1000, horizon=21)
    (10, 42)
    """
    return max(5, round(n ** (1.0 / 3.0)), 2 * horizon)


def cumulative_band(
    gain: ArrayLike, *, horizon: int = 1, seed: int = 0
) -> tuple[NDArray[np.intp], Array, Array]:
    """Rows, lower and upper 95 % band of a cumulative gain, by a circular block bootstrap.

    Blocks of the centred gains are drawn with replacement and summed; the band is the cumulative
    gain plus and minus what such sums reach by chance. Where it leaves out zero at the end, the
    whole gain is more than chance. It holds at each row by itself, not along the whole path: for
    that see :func:`fluctuation_test`.

    Parameters
    ----------
    gain : (n,)
        Score differences, row by row.
    horizon : int
        Rows that a target covers; blocks are longer than that.
    seed : int

    Returns
    -------
    rows, low, high : (m,)
        At no more than a few hundred rows, the last included.

    References
    ----------
    Politis, D. N. and Romano, J. P. (1992). A circular block-resampling procedure for stationary
    data. In Exploring the Limits of Bootstrap, 263-270.

    Examples
    --------
    >>> rows, low, high = cumulative_band(np.random.default_rng(0).standard_normal(50) + 1.0)
    >>> int(rows[-1]), bool(low[-1] < 50.0 < high[-1])
    (49, True)
    """
    gains = as_series(gain, "gain")
    n = gains.size
    block = min(block_length(n, as_whole(horizon, "horizon", 1)), n)
    rng = np.random.default_rng(seed)
    blocks = -(-n // block)
    starts = rng.integers(0, n, size=(_PATHS, blocks))
    centred = gains - gains.mean()
    wrapped = np.concatenate([centred, centred[: block - 1]])
    pieces = np.lib.stride_tricks.sliding_window_view(wrapped, block)
    paths = np.cumsum(pieces[starts].reshape(_PATHS, -1)[:, :n], axis=1)
    rows = np.unique(np.linspace(0, n - 1, min(n, _BAND_POINTS)).round().astype(int))
    low, high = np.quantile(paths[:, rows], [0.025, 0.975], axis=0)
    total = np.cumsum(gains)[rows]
    # A high chance sum means that the truth may lie that much lower, and the other way round.
    return rows, total - high, total - low


def fluctuation_test(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    *,
    window: float = 0.3,
    size: float = 0.05,
    horizon: int = 1,
    lags: int | None = None,
) -> Fluctuation:
    """Test that two models are equally good in every stretch, not on average alone.

    ``F_t = sum_{window up to t} d / (s sqrt(m))`` with d the loss difference, s its long-run
    standard deviation over all rows and m the window. The largest ``|F_t|`` is compared with its
    distribution under equal accuracy throughout.

    Parameters
    ----------
    loss_a, loss_b : (n,)
        Losses of the same rows, smaller is better.
    window : float
        Share of the rows in a window, between 0 and 1.
    size : float
        Probability of leaving the critical value by chance.
    horizon, lags : int
        As in :func:`regimeslot.evaluation.comparison.diebold_mariano`.

    Raises
    ------
    InvalidInputError
        Missing values, unequal lengths, or losses that never differ.
    TooFewRowsError
        Fewer than 20 rows.

    References
    ----------
    Giacomini, R. and Rossi, B. (2010). Forecast comparisons in unstable environments. Journal of
    Applied Econometrics 25, 595-620.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(600)
    >>> a_then_b = noise + np.repeat([-1.0, 1.0], 300)
    >>> bool(abs(a_then_b.mean()) < 0.1), fluctuation_test(a_then_b, np.zeros(600)).p < 0.01
    (True, True)
    """
    a, b = as_series(loss_a, "loss_a"), as_series(loss_b, "loss_b")
    require_same_rows(loss_a, loss_b)
    n = a.size
    if n < 20:
        raise TooFewRowsError(f"a fluctuation test needs 20 rows or more, got {n}")
    width = max(int(as_share(window, "window") * n), 2)
    steps = as_whole(horizon, "horizon", 1)
    length = newey_west_lags(n, steps) if lags is None else as_whole(lags, "lags", 0)
    difference = a - b
    variance = long_run_variance(difference, length)
    if variance <= 0.0:
        raise InvalidInputError(
            "the losses must not differ by the same in each row; compare two models that differ"
        )
    path = _windows(difference, width) / np.sqrt(variance * width)
    statistic = float(np.abs(path).max())
    largest = _simulated(n, width)
    return Fluctuation(
        np.arange(width - 1, n),
        path,
        float(np.quantile(largest, 1.0 - as_share(size, "size"))),
        statistic,
        float((1 + np.sum(largest >= statistic)) / (1 + largest.size)),
        width,
    )


def fluctuation_critical_value(n: int, window: float = 0.3, size: float = 0.05) -> float:
    """What the fluctuation statistic of n rows stays below with probability ``1 - size``.

    Simulated from paths of independent normals of the same length and window, always the same
    ones, so that no table limits n, the window or the size.

    Examples
    --------
    >>> 2.9 < fluctuation_critical_value(1000, window=0.3) < 3.1
    True
    """
    rows = as_whole(n, "n", 20)
    width = max(int(as_share(window, "window") * rows), 2)
    return float(np.quantile(_simulated(rows, width), 1.0 - as_share(size, "size")))


def _windows(x: Array, width: int) -> Array:
    """Sums over every stretch of ``width`` along the last axis."""
    total = np.cumsum(x, axis=-1)
    first = total[..., width - 1 : width]
    return np.concatenate([first, total[..., width:] - total[..., :-width]], axis=-1)


@lru_cache(maxsize=16)
def _simulated(n: int, width: int) -> Array:
    """Largest absolute statistic of simulated equal models, (paths,)."""
    steps = min(n, _STEPS)
    stretch = max(round(width * steps / n), 2)
    rng = np.random.default_rng(20100401)
    largest = np.empty(_SIMULATED)
    for begin in range(0, _SIMULATED, 500):
        noise = rng.standard_normal((500, steps))
        largest[begin : begin + 500] = np.abs(_windows(noise, stretch)).max(axis=1)
    largest /= np.sqrt(stretch)
    largest.setflags(write=False)
    return largest
