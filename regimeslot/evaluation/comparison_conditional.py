"""Two models where Diebold-Mariano does not fit: nested means, and a winner one could foresee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtr

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import long_run_variance, newey_west_lags
from regimeslot.evaluation.comparison_checks import as_series, as_whole, require_same_rows

__all__ = ["ClarkWest", "GiacominiWhite", "clark_west", "giacomini_white"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClarkWest:
    """Result of :func:`clark_west`.

    Attributes
    ----------
    mean_difference : float
        Mean squared error of the small model minus the adjusted one of the large model; positive
        says that the large model's extra terms help.
    t : float
    p : float
        One-sided: small where the large model is better.
    n, lags : int
        Rows, and autocovariances in the long-run variance.
    """

    mean_difference: float
    t: float
    p: float
    n: int
    lags: int


@dataclass(frozen=True)
class GiacominiWhite:
    """Result of :func:`giacomini_white`.

    Attributes
    ----------
    statistic : float
        Wald statistic, chi-square with ``df`` degrees of freedom under equal conditional accuracy.
    p : float
    df : int
        Instruments.
    coefficients : tuple of float
        Regression of loss a minus loss b on the instruments: where their combination is positive,
        model b was to be expected better.
    n : int
        Rows used.
    """

    statistic: float
    p: float
    df: int
    coefficients: tuple[float, ...]
    n: int


def clark_west(
    y: ArrayLike,
    small: ArrayLike,
    large: ArrayLike,
    *,
    horizon: int = 1,
    lags: int | None = None,
) -> ClarkWest:
    """Test whether a mean forecast beats one that it nests.

    ``f_t = (y_t - a_t)^2 - ((y_t - b_t)^2 - (a_t - b_t)^2)`` with a the small and b the large
    model; t is its mean over its Newey-West standard error. Under the null the large model
    estimates terms that are zero and so has the larger squared error; the last part takes that
    noise out.

    Under the null t is a little below the standard normal: at a nominal 5 % the test rejects in
    1 to 5 % of samples.

    Parameters
    ----------
    y : (n,)
        Outcomes.
    small, large : (n,)
        Mean forecasts; the large model holds the small one as a special case.
    horizon, lags : int
        As in :func:`regimeslot.evaluation.comparison.diebold_mariano`.

    Raises
    ------
    InvalidInputError
        Missing values, unequal lengths, or two forecasts that never differ.
    TooFewRowsError
        Fewer than two rows.

    References
    ----------
    Clark, T. E. and West, K. D. (2007). Approximately normal tests for equal predictive accuracy
    in nested models. Journal of Econometrics 138, 291-311.

    Examples
    --------
    >>> result = clark_west([1.0, -1.0, 2.0, 0.5], 0.0, [0.5, -0.5, 0.4, 0.1], lags=0)
    >>> round(result.t, 3), round(result.p, 5)
    (3.454, 0.00028)
    """
    outcomes = as_series(y, "y")
    n = outcomes.size
    means = []
    for name, forecast in (("small", small), ("large", large)):
        if np.ndim(forecast) > 0:
            require_same_rows(outcomes, forecast, f"y and {name}")
            require_same_rows(y, forecast, f"y and {name}")
        means.append(as_series(np.broadcast_to(np.asarray(forecast, float), (n,)), name))
    if n < 2:
        raise TooFewRowsError(f"a comparison needs at least 2 rows, got {n}")
    a, b = means
    steps = as_whole(horizon, "horizon", 1)
    length = newey_west_lags(n, steps) if lags is None else as_whole(lags, "lags", 0)
    adjusted = (outcomes - a) ** 2 - ((outcomes - b) ** 2 - (a - b) ** 2)
    variance = long_run_variance(adjusted, length)
    if variance <= 0.0:
        raise InvalidInputError(
            "the two forecasts must differ, got the same adjusted difference in each row; "
            "compare a model with one that it nests"
        )
    mean = float(adjusted.mean())
    t = mean / np.sqrt(variance / n)
    return ClarkWest(mean, float(t), float(ndtr(-t)), n, length)


def giacomini_white(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    instruments: ArrayLike | None = None,
    *,
    horizon: int = 1,
) -> GiacominiWhite:
    """Test whether anything known beforehand tells which of two models will do better.

    ``n z' S^-1 z`` with ``z = mean(h_t d_t)``, d the loss difference, h the instruments and S the
    variance of ``h d``, with Bartlett weights up to ``horizon - 1`` lags. Unlike Diebold-Mariano,
    which asks about the average, it finds models of equal average of which one is better in known
    states.

    Parameters
    ----------
    loss_a, loss_b : (n,)
        Losses of the same rows, smaller is better.
    instruments : (n,) or (n, q), optional
        Known before each row; give a constant yourself. Default: a constant and the last loss
        difference known then, that of ``horizon`` rows before.
    horizon : int
        Rows that one target spans.

    Raises
    ------
    InvalidInputError
        Missing values, unequal lengths, or instruments that depend on one another.
    TooFewRowsError
        Too few rows for the number of instruments.

    References
    ----------
    Giacomini, R. and White, H. (2006). Tests of conditional predictive ability. Econometrica 74,
    1545-1578.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> known = rng.standard_normal(400)
    >>> better_when_positive = known + rng.standard_normal(400)
    >>> h = np.column_stack([np.ones(400), known])
    >>> giacomini_white(better_when_positive, np.zeros(400), h).p < 0.001
    True
    """
    a, b = as_series(loss_a, "loss_a"), as_series(loss_b, "loss_b")
    require_same_rows(loss_a, loss_b)
    steps = as_whole(horizon, "horizon", 1)
    difference = a - b
    if instruments is None:
        if difference.size <= steps:
            raise TooFewRowsError(f"expected more rows than the horizon, got {difference.size}")
        h = np.column_stack([np.ones(difference.size - steps), difference[:-steps]])
        difference = difference[steps:]
    else:
        h = np.asarray(instruments, np.float64)
        h = h[:, None] if h.ndim == 1 else h
        if h.ndim != 2 or h.shape[0] != difference.size or not np.isfinite(h).all():
            raise InvalidInputError(
                f"instruments must be finite with {difference.size} rows, got shape {h.shape}"
            )
    n, q = h.shape
    if n <= q + steps:
        raise TooFewRowsError(f"{q} instruments need more than {q + steps} rows, got {n}")
    products = h * difference[:, None]
    covariance = products.T @ products / n
    for lag in range(1, steps):
        cross = products[lag:].T @ products[:-lag] / n
        covariance += (1.0 - lag / steps) * (cross + cross.T)
    mean = products.mean(axis=0)
    root = np.sqrt(np.diag(covariance))
    if np.any(root == 0.0) or np.linalg.matrix_rank(covariance / np.outer(root, root)) < q:
        raise InvalidInputError(
            "instruments times the loss difference must be linearly independent; "
            "drop an instrument, or compare models that differ"
        )
    statistic = float(n * mean @ np.linalg.solve(covariance, mean))
    coefficients = np.linalg.lstsq(h, difference, rcond=None)[0]
    return GiacominiWhite(
        statistic, float(chdtrc(q, statistic)), q, tuple(coefficients.tolist()), n
    )
