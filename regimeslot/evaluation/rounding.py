"""Series that are published in coarse steps: how to see it, and a fair PIT for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.evaluation.scores import check_width
from regimeslot.forecast import MixtureForecast

__all__ = ["rounded_uniforms", "rounding_note", "rounding_step"]

Array = NDArray[np.float64]

_STEPS = (1.0, 0.5, 0.25, 0.125)  # of each power of ten, as rates and indices are published
_FINEST, _COARSEST = -6, 6  # powers of ten
_EXACT = 1e-6  # of a step: what binary numbers leave of a decimal one
_FEW_STEPS = 5.0  # a typical move of fewer steps makes the rounding visible
_LEAST_ROWS = 20


def rounding_step(values: ArrayLike) -> float | None:
    """The step that a series is visibly rounded to, or None.

    It is the coarsest of 1, 0.5, 0.25 and 0.125 times a power of ten of which all values are
    multiples, where half of the moves are of at most five such steps.

    Parameters
    ----------
    values : (n,)
        The series itself, not its changes.

    Examples
    --------
    >>> rounding_step([5.1, 5.0, 5.0, 4.9] * 10)
    0.1
    >>> rounding_step(100 + np.random.default_rng(0).standard_normal(50)) is None
    True
    """
    series = np.asarray(values, np.float64)
    series = series[np.isfinite(series)]
    spread = float(np.ptp(series)) if series.size else 0.0
    if series.size < _LEAST_ROWS or spread == 0.0:
        return None
    typical = float(np.median(np.abs(np.diff(series))))
    for power in range(_COARSEST, _FINEST - 1, -1):
        for share in _STEPS:
            step = share * 10.0**power
            if step > 1.5 * spread:
                continue
            if typical > _FEW_STEPS * step:
                return None  # finer steps are no more visible
            multiples = series / step
            if np.all(np.abs(multiples - np.round(multiples)) < _EXACT):
                return float(f"{step:.6g}")
    return None


def rounding_note(values: ArrayLike, transform: str) -> str | None:
    """What to do about a visibly rounded series of values or changes; None where nothing is."""
    step = rounding_step(values) if transform != "log-return" else None
    if step is None:
        return None
    return (
        f"All values are multiples of {step:g} and move by few such steps, so a density can be "
        f"made as high as one likes at them: pass rounded_to={step:g} to score the probability of "
        "what is rounded to each."
    )


def rounded_uniforms(
    forecast: MixtureForecast, y: ArrayLike, width: float, *, seed: int = 0
) -> Array:
    """Probability integral transforms of rounded values, drawn evenly within their interval.

    ``u = F(y - width/2) + v (F(y + width/2) - F(y - width/2))`` with v uniform: uniform where the
    forecasts are right, which ``F(y)`` of a rounded value is not.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
    width : float
        Step of the rounding.
    seed : int

    References
    ----------
    Czado, C., Gneiting, T. and Held, L. (2009). Predictive model assessment for count data.
    Biometrics 65, 1254-1261.

    Examples
    --------
    >>> u = rounded_uniforms(MixtureForecast(1.0, 0.0, 1.0, np.inf), [0.0], 1.0)
    >>> bool(0.308 < u[0] < 0.692)
    True
    """
    outcomes = np.asarray(y, np.float64)
    half = 0.5 * check_width(width)
    low, high = forecast.cdf(outcomes - half), forecast.cdf(outcomes + half)
    return low + np.random.default_rng(seed).random(len(outcomes)) * (high - low)
