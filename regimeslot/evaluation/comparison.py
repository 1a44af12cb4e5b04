"""Tests of whether one model's loss is really smaller than another's, or by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr, stdtrit

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison_checks import as_series, as_whole, require_same_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SIGNIFICANT",
    "DieboldMariano",
    "Difference",
    "compare_table",
    "diebold_mariano",
    "long_run_variance",
    "newey_west_lags",
    "score_difference",
]

Array = NDArray[np.float64]

SIGNIFICANT = 2.0  # |t| from which a difference is called one


@dataclass(frozen=True)
class DieboldMariano:
    """Result of :func:`diebold_mariano`.

    Attributes
    ----------
    mean_difference : float
        Mean of loss a minus loss b, in the unit of the loss; negative says a is better.
    t : float
        Test statistic, negative where a is better.
    p : float
        Two-sided p-value of equal accuracy.
    n : int
        Rows.
    lags : int
        Autocovariances in the long-run variance.
    """

    mean_difference: float
    t: float
    p: float
    n: int
    lags: int


@dataclass(frozen=True)
class Difference:
    """Result of :func:`score_difference`: mean gain of one model over another.

    Attributes
    ----------
    model, against : str
    gain, low, high : float
        Mean and its 95 % interval (Newey-West), in the unit of the score a row.
    t, p : float
        Of :func:`diebold_mariano`, t positive where ``model`` is better.
    won : float
        Share of rows in which the model was better.
    """

    model: str
    against: str
    gain: float
    low: float
    high: float
    t: float
    p: float
    won: float

    @property
    def found(self) -> bool:
        """Whether the difference can be told from chance, either way."""
        return abs(self.t) >= SIGNIFICANT


def newey_west_lags(n: int, horizon: int = 1) -> int:
    """Automatic lag length ``floor(4 (n / 100)^(2/9))``, at least ``horizon - 1``, below n.

    References
    ----------
    Newey, W. K. and West, K. D. (1994). Automatic lag selection in covariance matrix estimation.
    Review of Economic Studies 61, 631-653.

    Examples
    --------
    >>> newey_west_lags(1000)
    6
    """
    return min(max(int(4.0 * (n / 100.0) ** (2.0 / 9.0)), horizon - 1), n - 1)


def long_run_variance(x: ArrayLike, lags: int | None = None) -> float:
    """Newey-West estimate of the variance of ``sqrt(n)`` times the mean of a series.

    ``g_0 + 2 sum_l (1 - l / (L + 1)) g_l`` with the autocovariances ``g_l`` (divisor n) and
    Bartlett weights; never negative. The standard error of the mean is ``sqrt(value / n)``.

    Parameters
    ----------
    x : (n,)
    lags : int, optional
        L; default :func:`newey_west_lags`.

    Raises
    ------
    InvalidInputError
        Missing values, or lags not between 0 and n - 1.

    References
    ----------
    Newey, W. K. and West, K. D. (1987). A simple, positive semi-definite, heteroskedasticity and
    autocorrelation consistent covariance matrix. Econometrica 55, 703-708.

    Examples
    --------
    >>> long_run_variance([1.0, -1.0, 1.0, -1.0], lags=0)
    1.0
    """
    series = as_series(x, "x")
    n = series.size
    length = newey_west_lags(n) if lags is None else as_whole(lags, "lags", 0)
    if length >= n:
        raise InvalidInputError(f"lags must be below the number of rows, {n}, got {length}")
    centred = series - series.mean()
    total = centred @ centred
    for lag in range(1, length + 1):
        total += 2.0 * (1.0 - lag / (length + 1.0)) * (centred[lag:] @ centred[:-lag])
    return max(float(total) / n, 0.0)


def diebold_mariano(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    *,
    horizon: int = 1,
    hln: bool = True,
    lags: int | None = None,
) -> DieboldMariano:
    """Test of equal predictive accuracy of two models on the same rows.

    ``t = mean(d) / sqrt(V / n)`` with ``d = loss_a - loss_b`` and V its Newey-West long-run
    variance. The correction of Harvey, Leybourne and Newbold multiplies t by
    ``sqrt((n + 1 - 2 h + h (h - 1) / n) / n)`` and takes p from the Student-t with n - 1 degrees of
    freedom instead of the normal.

    The test is about two forecasts as they were made. With nested models it is conservative
    towards the larger one.

    Parameters
    ----------
    loss_a, loss_b : (n,)
        Losses, smaller is better: for the log score pass its negative. Two pandas Series must have
        the same index.
    horizon : int
        h, rows that one target spans; its overlap is at least covered by the default lags.
    hln : bool
        Correct for small samples.
    lags : int, optional
        Autocovariances in V; default :func:`newey_west_lags`.

    Returns
    -------
    DieboldMariano
        Where the difference is the same in each row, up to rounding of the losses, t is 0 (p 1)
        if it is zero and else infinite (p 0).

    Raises
    ------
    InvalidInputError
        Missing values, unequal lengths or indices, or a horizon too long for the correction.
    TooFewRowsError
        Fewer than two rows.

    References
    ----------
    Diebold, F. X. and Mariano, R. S. (1995). Comparing predictive accuracy. Journal of Business
    and Economic Statistics 13, 253-263. Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing
    the equality of prediction mean squared errors. International Journal of Forecasting 13,
    281-291.

    Examples
    --------
    >>> result = diebold_mariano([1.0, 2.0, 1.5, 1.0], [1.5, 2.1, 2.5, 1.2], lags=0)
    >>> round(result.mean_difference, 3), round(result.t, 3)
    (-0.45, -2.227)
    """
    a, b = as_series(loss_a, "loss_a"), as_series(loss_b, "loss_b")
    require_same_rows(loss_a, loss_b)
    n = a.size
    if n < 2:
        raise TooFewRowsError(f"a comparison needs at least 2 rows, got {n}")
    steps = as_whole(horizon, "horizon", 1)
    length = newey_west_lags(n, steps) if lags is None else as_whole(lags, "lags", 0)
    difference = a - b
    mean = float(difference.mean())

    rounding = 4.0 * np.finfo(np.float64).eps * max(np.abs(a).max(), np.abs(b).max())
    constant = np.ptp(difference) <= rounding
    variance = 0.0 if constant else long_run_variance(difference, length)
    if variance > 0.0:
        t = mean / np.sqrt(variance / n)
    else:
        t = 0.0 if abs(mean) <= rounding else np.copysign(np.inf, mean)
    if hln:
        factor = (n + 1 - 2 * steps + steps * (steps - 1) / n) / n
        if factor <= 0.0:
            raise InvalidInputError(
                f"a horizon of {steps} is too long for the small-sample correction with {n} rows; "
                "give more rows or hln=False"
            )
        t *= np.sqrt(factor)
    p = 2.0 * (stdtr(n - 1.0, -abs(t)) if hln else ndtr(-abs(t)))
    return DieboldMariano(mean, float(t), float(p), n, length)


def score_difference(
    scores: ArrayLike,
    against: ArrayLike,
    *,
    horizon: int = 1,
    names: tuple[str, str] = ("model", "reference"),
) -> Difference:
    """Mean gain of one model's scores over another's, with its interval and share of rows won.

    Parameters
    ----------
    scores, against : (n,)
        Larger is better, as the log score is.
    horizon : int
        As in :func:`diebold_mariano`.
    names : two str
        Of the model and of the reference.

    Examples
    --------
    >>> d = score_difference([1.0, 2.0, 1.5, 1.0], [0.5, 1.9, 0.5, 0.8])
    >>> round(d.gain, 3), d.low < d.gain < d.high, d.won
    (0.45, True, 1.0)
    """
    test = diebold_mariano(
        -np.asarray(against, np.float64), -np.asarray(scores, np.float64), horizon=horizon
    )
    gain = test.mean_difference
    error = abs(gain / test.t) if np.isfinite(test.t) and test.t != 0.0 else 0.0
    half = float(stdtrit(max(test.n - 1, 1), 0.975)) * error
    won = float(np.mean(np.asarray(scores, np.float64) > np.asarray(against, np.float64)))
    return Difference(*names, gain, gain - half, gain + half, test.t, test.p, won)


def compare_table(
    losses: Mapping[str, ArrayLike],
    reference: str,
    *,
    horizon: int = 1,
    hln: bool = True,
    lags: int | None = None,
) -> pd.DataFrame:
    """Each model's losses against those of one reference model.

    Parameters
    ----------
    losses : mapping from name to (n,) losses
        Smaller is better.
    reference : str
        One of the names.
    horizon, hln, lags : as in :func:`diebold_mariano`

    Returns
    -------
    DataFrame
        One row per model other than the reference, columns ``mean_loss``, ``mean_difference``
        (model minus reference, negative is better), ``t``, ``p``, ``n`` and ``lags``. The p-values
        are each of one test; choosing the best of many needs a test of its own.

    Examples
    --------
    >>> losses = {"a": [1.0, 2.0, 1.5, 1.0], "b": [1.5, 2.1, 2.5, 1.2]}
    >>> compare_table(losses, "b", lags=0)[["mean_difference", "t"]].round(3).to_dict("index")
    {'a': {'mean_difference': -0.45, 't': -2.227}}
    """
    import pandas as pd

    if reference not in losses:
        raise InvalidInputError(
            f"reference must be one of {', '.join(map(repr, losses))}, got {reference!r}"
        )
    rows = {}
    for name, loss in losses.items():
        if name == reference:
            continue
        result = diebold_mariano(loss, losses[reference], horizon=horizon, hln=hln, lags=lags)
        rows[name] = {"mean_loss": float(np.mean(np.asarray(loss, np.float64))), **vars(result)}
    columns = ["mean_loss", "mean_difference", "t", "p", "n", "lags"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")
