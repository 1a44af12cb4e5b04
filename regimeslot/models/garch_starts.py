"""What arch's fits need on short, rounded or one-sided series: other starts, and a held skew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["flat_starts", "skew_student"]

Array = NDArray[np.float64]

_MOST_SKEW = 0.9  # one side then holds nineteen times the width of the other


def skew_student() -> Any:
    """Skewed t of arch, its skew kept from the edge.

    At a skew of one the density of one side is zero: few or rounded rows may like that, and the
    first row on that side refutes it for good.
    """
    from arch.univariate import SkewStudent

    class HeldSkewStudent(SkewStudent):
        def bounds(self, resids: Any) -> list[tuple[float, float]]:
            return [super().bounds(resids)[0], (-_MOST_SKEW, _MOST_SKEW)]

        def constraints(self) -> tuple[Array, Array]:
            matrix, bounds = super().constraints()
            return matrix, np.append(bounds[:2], [-_MOST_SKEW, -_MOST_SKEW])

    return HeldSkewStudent()


def flat_starts(
    scaled: Array, volatility: str, likelihood: str, lags: int, ar_lags: int
) -> list[list[float]]:
    """Starting values of nearly constant variance, in the order of arch's parameters.

    With the mean equation by least squares, and without slopes in it.
    """
    lagged = [scaled[ar_lags - i : len(scaled) - i] for i in range(1, ar_lags + 1)]
    design = np.column_stack([np.ones(len(scaled) - ar_lags), *lagged])
    target = scaled[ar_lags:]
    fitted = np.linalg.lstsq(design, target, rcond=None)[0]
    signs = [0.0] * (lags if volatility != "garch" else 0)
    shape = {"t": [8.0], "skewt": [8.0, 0.0], "gaussian": []}[likelihood]
    dynamics = [*([0.02 / lags] * lags), *signs, *([0.48 / lags] * lags)]
    starts = []
    for mean in (fitted, np.array([target.mean(), *np.zeros(ar_lags)])):
        variance = float(np.mean((target - design @ mean) ** 2))
        level = 0.5 * (math.log(variance) if volatility == "egarch" else variance)
        starts.append([*mean.tolist(), level, *dynamics, *shape])
    return starts
