"""Are the probabilities right? Tests of the probability integral transform u = F(y)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrik, chdtrc, ndtri

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison_checks import as_series, as_whole

__all__ = [
    "BINS",
    "Berkowitz",
    "CalibrationTest",
    "PitHistogram",
    "berkowitz",
    "kolmogorov_smirnov",
    "pit_histogram",
]

Array = NDArray[np.float64]

BINS = 20


@dataclass(frozen=True, eq=False)
class PitHistogram:
    """Result of :func:`pit_histogram`.

    Attributes
    ----------
    heights : (bins,)
        Rows in each bar as a multiple of those expected: 1 where calibrated.
    low, high : float
        95 % band of one bar at a time.
    statistic, p : float
        Chi-square test of all bars at once.
    """

    heights: Array
    low: float
    high: float
    statistic: float
    p: float

    @property
    def outside(self) -> int:
        """Bars outside the band; one in twenty lies there by chance."""
        return int(((self.heights < self.low) | (self.heights > self.high)).sum())


@dataclass(frozen=True)
class CalibrationTest:
    """Statistic and p-value of uniform u, over n rows."""

    statistic: float
    p: float
    n: int


@dataclass(frozen=True)
class Berkowitz:
    """Result of :func:`berkowitz`.

    Attributes
    ----------
    statistic, p : float
        Likelihood ratio against mean 0, variance 1 and no autocorrelation, 3 degrees of freedom.
    mean, std, autocorrelation : float
        Of the normal transforms, estimated by maximum likelihood: calibrated is 0, 1 and 0. A
        positive mean says that outcomes were above the forecasts, a std above 1 that the forecasts
        were too narrow, an autocorrelation that the next error could have been foreseen.
    n : int
    """

    statistic: float
    p: float
    mean: float
    std: float
    autocorrelation: float
    n: int


def pit_histogram(uniforms: ArrayLike, bins: int = BINS) -> PitHistogram:
    """Histogram of the probability integral transform, 1 where uniform, and its 95 % band.

    The band is for one bar at a time, by the binomial distribution of independent rows. A hump in
    the middle means forecasts too wide, a U too narrow, a slope a wrong mean.

    Parameters
    ----------
    uniforms : (n,)
        ``forecast.cdf(y)``.
    bins : int

    References
    ----------
    Diebold, F. X., Gunther, T. A. and Tay, A. S. (1998). Evaluating density forecasts with
    applications to financial risk management. International Economic Review 39, 863-883.

    Examples
    --------
    >>> pit = pit_histogram((np.arange(1000) + 0.5) / 1000)
    >>> pit.heights.round(3).tolist() == [1.0] * 20, round(pit.low, 2), round(pit.high, 2)
    (True, 0.74, 1.28)
    """
    u = _uniforms(uniforms)
    n, bars = u.size, as_whole(bins, "bins", 2)
    heights = np.histogram(u, bins=bars, range=(0.0, 1.0))[0] * bars / n
    low, high = (np.ceil(bdtrik(p, n, 1.0 / bars)) * bars / n for p in (0.025, 0.975))
    statistic = float(n / bars * np.sum((heights - 1.0) ** 2))
    p = float(chdtrc(bars - 1, statistic))
    return PitHistogram(heights, float(low), float(high), statistic, p)


def kolmogorov_smirnov(uniforms: ArrayLike) -> CalibrationTest:
    """Largest distance between the distribution of the transforms and the uniform one.

    It assumes independent rows and forecasts whose parameters were not estimated on them, which a
    walk-forward provides for one-step targets.

    Parameters
    ----------
    uniforms : (n,)

    Examples
    --------
    >>> kolmogorov_smirnov([0.1, 0.2, 0.3, 0.4, 0.45]).p < 0.1
    True
    """
    from scipy.stats import kstest

    u = _uniforms(uniforms)
    test = kstest(u, "uniform")
    return CalibrationTest(float(test.statistic), float(test.pvalue), u.size)


def berkowitz(uniforms: ArrayLike) -> Berkowitz:
    """Likelihood-ratio test that the normal transforms are independent standard normals.

    ``z_t = Phi^-1(u_t)`` and ``z_t - m = r (z_{t-1} - m) + s e_t``; the exact likelihood of this
    first-order autoregression against ``m = 0, s = 1, r = 0``.

    Parameters
    ----------
    uniforms : (n,)
        Values of exactly 0 and 1 stand for the nearest numbers inside.

    Raises
    ------
    TooFewRowsError
        Fewer than 10 rows.

    References
    ----------
    Berkowitz, J. (2001). Testing density forecasts, with applications to risk management. Journal
    of Business and Economic Statistics 19, 465-474.

    Examples
    --------
    >>> too_wide = 0.5 + 0.2 * np.random.default_rng(0).uniform(-1, 1, 300)
    >>> result = berkowitz(too_wide)
    >>> result.p < 0.001, result.std < 1
    (True, True)
    """
    from scipy.optimize import minimize_scalar

    u = _uniforms(uniforms)
    n = u.size
    if n < 10:
        raise TooFewRowsError(f"the Berkowitz test needs 10 rows or more, got {n}")
    z = ndtri(np.clip(u, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0)))
    if np.ptp(z) == 0.0:
        raise InvalidInputError("the transforms must not all be the same value")

    def at(r: float) -> tuple[float, float, float]:
        """Mean, innovation variance and twice the negative log-likelihood, given r."""
        gain = 1.0 - r
        ahead = z[1:] - r * z[:-1]
        # weighted least squares: the first row has variance s^2 / (1 - r^2)
        mean = ((1.0 + r) * z[0] + ahead.sum()) / ((1.0 + r) + (n - 1) * gain)
        squares = (1.0 - r * r) * (z[0] - mean) ** 2 + np.sum((ahead - gain * mean) ** 2)
        variance = float(squares / n)
        deviance = n * np.log(2.0 * np.pi * variance) - np.log1p(-r * r) + n
        return float(mean), variance, float(deviance)

    best = minimize_scalar(
        lambda r: at(r)[2], bounds=(-0.9999, 0.9999), method="bounded", options={"xatol": 1e-10}
    )
    r = float(best.x)
    mean, variance, deviance = at(r)
    null = float(n * np.log(2.0 * np.pi) + z @ z)
    statistic = max(null - deviance, 0.0)
    std = float(np.sqrt(variance / (1.0 - r * r)))
    return Berkowitz(statistic, float(chdtrc(3, statistic)), mean, std, r, n)


def _uniforms(values: ArrayLike) -> Array:
    u = as_series(values, "uniforms")
    if u.min() < 0.0 or u.max() > 1.0:
        raise InvalidInputError(
            f"uniforms must lie in [0, 1], got {u.min():g} to {u.max():g}; pass forecast.cdf(y)"
        )
    return u
