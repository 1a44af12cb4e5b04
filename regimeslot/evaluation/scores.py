"""Scores of density forecasts: one number per row, and one table per set of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.forecast.density import side_tail

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "crps",
    "expanding_mean",
    "hit_rate",
    "interval_log_score",
    "last_known",
    "log_score",
    "qlike",
    "r2_oos",
    "score_table",
]

Array = NDArray[np.float64]

_LEAST_MASS = 1e-290  # below it a probability has lost its digits
_NODES = 32


def log_score(forecast: MixtureForecast, y: ArrayLike, rounded_to: float | None = None) -> Array:
    """Log predictive density of each realised value, in nats; larger is better.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
        A pandas Series must have the forecast's index.
    rounded_to : float, optional
        Step to which y was rounded: then :func:`interval_log_score`.

    Raises
    ------
    InvalidInputError
        y has missing values, another length or another index.

    References
    ----------
    Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
    estimation. Journal of the American Statistical Association 102, 359-378.

    Examples
    --------
    >>> log_score(MixtureForecast(1.0, 0.0, 1.0, np.inf), [0.0]).round(4)
    array([-0.9189])
    """
    if rounded_to is not None:
        return interval_log_score(forecast, y, rounded_to)
    _check_outcomes(y, len(forecast))
    return forecast.logpdf(y)


def interval_log_score(forecast: MixtureForecast, y: ArrayLike, width: float) -> Array:
    """Log probability of the interval that a rounded value stands for, in nats; larger is better.

    ``log P(y - width/2 < Y < y + width/2)``. The density at a rounded value can be made as high as
    one likes by a narrow spike on the grid; the probability of what was rounded to it cannot. For
    fine rounding it is the log density plus log(width).

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
        Values as they were published.
    width : float
        Step of the rounding, in the unit of y: 0.1 for an unemployment rate in tenths of a percent
        and for its changes.

    Raises
    ------
    InvalidInputError
        y as in :func:`log_score`; a width that is not a positive number.

    References
    ----------
    Heitjan, D. F. (1989). Inference from grouped continuous data: a review. Statistical Science 4,
    164-179.

    Examples
    --------
    >>> normal = MixtureForecast(1.0, 0.0, 1.0, np.inf)
    >>> np.exp(interval_log_score(normal, [0.0], 2.0)).round(4)
    array([0.6827])
    """
    outcomes = _check_outcomes(y, len(forecast))
    step = check_width(width)
    weights, *parts = forecast.parameters
    low, high = outcomes - 0.5 * step, outcomes + 0.5 * step
    # Each component's tail on the interval's side: probabilities near one would lose the rest.
    above = outcomes[:, None] > parts[0]
    near, far = (side_tail(edge[:, None], above, *parts) for edge in (low, high))
    mass = np.sum(weights * np.abs(near - far), axis=1)
    with np.errstate(divide="ignore"):
        score = np.log(mass)
    lost = mass < _LEAST_MASS
    if lost.any():
        nodes, share = np.polynomial.legendre.leggauss(_NODES)
        points = outcomes[lost, None] + 0.5 * step * nodes
        log_density = forecast[np.flatnonzero(lost)].logpdf(points)
        top = log_density.max(axis=1, keepdims=True)
        inside = np.exp(log_density - np.where(np.isfinite(top), top, 0.0)) @ share
        with np.errstate(divide="ignore"):
            score[lost] = top[:, 0] + np.log(0.5 * step * inside)
    return score


def check_width(width: float) -> float:
    """The step of a rounding, checked."""
    number = float(width) if isinstance(width, int | float | np.number) else np.nan
    if isinstance(width, bool) or not (number > 0.0 and np.isfinite(number)):
        raise InvalidInputError(
            f"the step that values are rounded to must be a positive number, got {width!r}"
        )
    return number


def crps(forecast: MixtureForecast, y: ArrayLike) -> Array:
    """Continuous ranked probability score of each row, in the unit of y; smaller is better.

    Arguments, errors and reference as in :func:`log_score`.

    Examples
    --------
    >>> crps(MixtureForecast(1.0, 0.0, 1.0, np.inf), [1.0]).round(4)
    array([0.6024])
    """
    _check_outcomes(y, len(forecast))
    return forecast.crps(y)


def qlike(forecast: MixtureForecast, y: ArrayLike) -> Array:
    """Quasi-likelihood loss of the variance forecast; smaller is better.

    ``log s^2 + (y - m)^2 / s^2`` with m and s^2 the mean and variance of the forecast. Each model's
    own mean makes it the proper score of Dawid and Sebastiani; with m = 0 it is Patton's loss.
    Infinite or NaN where the forecast has no variance (``dof <= 2``).

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)

    References
    ----------
    Dawid, A. P. and Sebastiani, P. (1999). Coherent dispersion criteria for optimal experimental
    design. Annals of Statistics 27, 65-81. Patton, A. J. (2011). Volatility forecast comparison
    using imperfect volatility proxies. Journal of Econometrics 160, 246-256.

    Examples
    --------
    >>> qlike(MixtureForecast(1.0, 0.0, 1.0, np.inf), [2.0])
    array([4.])
    """
    outcomes = _check_outcomes(y, len(forecast))
    variance = forecast.var()
    return np.log(variance) + (outcomes - forecast.mean()) ** 2 / variance


def expanding_mean(y: ArrayLike, *, horizon: int = 1) -> Array:
    """Mean of the outcomes that were known before each row.

    Row t of an h-step target spans t to t + h - 1, so the last outcome known before row t is that
    of row t - h.

    Parameters
    ----------
    y : (n,)
        All rows in order, training rows included; take the test rows of the result.
    horizon : int
        h, in rows.

    Returns
    -------
    (n,)
        NaN in the first h rows, which have nothing before them.

    Examples
    --------
    >>> expanding_mean([1.0, 3.0, 8.0])
    array([nan,  1.,  2.])
    """
    outcomes, delay = _check_outcomes(y, None), _check_horizon(horizon)
    result = np.full(outcomes.size, np.nan)
    known = max(outcomes.size - delay, 0)
    result[delay:] = np.cumsum(outcomes)[:known] / np.arange(1, known + 1)
    return result


def last_known(y: ArrayLike, *, horizon: int = 1) -> Array:
    """The last outcome that was known before each row: the forecast of a random walk.

    Arguments, shape and errors as in :func:`expanding_mean`. For values that wander, such as a
    rate or an index, any model beats the mean of the past; this is what it must beat.

    Examples
    --------
    >>> last_known([1.0, 3.0, 8.0])
    array([nan,  1.,  3.])
    """
    outcomes, delay = _check_outcomes(y, None), _check_horizon(horizon)
    result = np.full(outcomes.size, np.nan)
    result[delay:] = outcomes[: max(outcomes.size - delay, 0)]
    return result


def _check_horizon(horizon: int) -> int:
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise InvalidInputError(f"horizon must be a whole number of rows from 1, got {horizon!r}")
    return int(horizon)


def r2_oos(mean: ArrayLike, y: ArrayLike, benchmark_mean: ArrayLike) -> float:
    """Out-of-sample R2 of a mean forecast against a benchmark mean.

    ``1 - sum (y - mean)^2 / sum (y - benchmark_mean)^2``: positive is better than the benchmark.

    Parameters
    ----------
    mean, y : (n,)
    benchmark_mean : scalar or (n,)
        Usually :func:`expanding_mean`, or for values that wander :func:`last_known`: what was
        known before each row, never the mean of the test rows themselves.

    References
    ----------
    Campbell, J. Y. and Thompson, S. B. (2008). Predicting excess stock returns out of sample: can
    anything beat the historical average? Review of Financial Studies 21, 1509-1531.

    Examples
    --------
    >>> r2_oos([1.0, 1.0], [1.0, 2.0], 0.0)
    0.8
    """
    outcomes = _check_outcomes(y, None)
    forecast = _check_outcomes(mean, outcomes.size, "mean", allow_nan=True)
    benchmark = np.asarray(benchmark_mean, np.float64)
    if benchmark.shape not in {(), outcomes.shape} or not np.isfinite(benchmark).all():
        raise InvalidInputError(
            f"benchmark_mean must be a finite number or {outcomes.size} of them, got shape "
            f"{benchmark.shape}; take the test rows of expanding_mean over all rows"
        )
    total = float(np.sum((outcomes - benchmark) ** 2))
    residual = float(np.sum((outcomes - forecast) ** 2))
    if total == 0.0:
        return 0.0 if residual == 0.0 else -np.inf
    return 1.0 - residual / total


def hit_rate(forecast: MixtureForecast, y: ArrayLike, level: float) -> float:
    """Share of rows in which the loss exceeded the value at risk; ``level`` if it is right.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
    level : float
        Tail probability, 0.01 for the 1 % VaR.

    Examples
    --------
    >>> four_days = MixtureForecast(np.ones((4, 1)), 0.0, 1.0, np.inf)
    >>> hit_rate(four_days, [-3.0, 0.5, -1.0, 2.0], 0.05)
    0.25
    """
    outcomes = _check_outcomes(y, len(forecast))
    return float(np.mean(outcomes < -forecast.value_at_risk(level)))


def score_table(
    forecasts: Mapping[str, MixtureForecast],
    y: ArrayLike,
    benchmark_mean: ArrayLike,
    seconds: Mapping[str, float] | None = None,
    *,
    rounded_to: float | None = None,
) -> pd.DataFrame:
    """Mean scores of several models on the same rows, one model per row.

    Parameters
    ----------
    forecasts : mapping from name to MixtureForecast of n rows
    y : (n,)
        A pandas Series must have the index of each forecast that has one.
    benchmark_mean : scalar or (n,)
        For the out-of-sample R2, see :func:`r2_oos`.
    seconds : mapping from name to float, optional
        Adds a column of computing times; NaN for models it does not name.
    rounded_to : float, optional
        Step to which y was rounded: ``log_score`` is then :func:`interval_log_score`.

    Returns
    -------
    DataFrame
        Columns ``log_score`` (nats per row, larger is better), ``crps`` (unit of y), ``r2_oos``,
        ``qlike``, ``var_1_hit`` and ``var_5_hit`` (shares, ideally .01 and .05) and, if asked for,
        ``seconds``.

    Examples
    --------
    >>> models = {"normal": MixtureForecast(np.ones((2, 1)), 0.0, 1.0, np.inf)}
    >>> table = score_table(models, [0.0, 1.0], 0.0)
    >>> table[["log_score", "crps"]].round(3).to_dict("index")
    {'normal': {'log_score': -1.169, 'crps': 0.418}}
    """
    import pandas as pd

    if not forecasts:
        raise InvalidInputError("expected forecasts of at least one model, got none")
    rows = {}
    for name, forecast in forecasts.items():
        if len(forecast) == 0:
            raise InvalidInputError(f"the forecast of {name!r} has no rows to score")
        rows[name] = {
            "log_score": log_score(forecast, y, rounded_to).mean(),
            "crps": crps(forecast, y).mean(),
            "r2_oos": r2_oos(forecast.mean(), y, benchmark_mean),
            "qlike": qlike(forecast, y).mean(),
            "var_1_hit": hit_rate(forecast, y, 0.01),
            "var_5_hit": hit_rate(forecast, y, 0.05),
        }
        if seconds is not None:
            rows[name]["seconds"] = seconds.get(name, np.nan)
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=np.float64)
    return table.rename_axis("model")


def _check_outcomes(
    y: ArrayLike, n_rows: int | None, name: str = "y", *, allow_nan: bool = False
) -> Array:
    """One finite number per row."""
    values = np.asarray(y, np.float64)
    if values.ndim != 1 or (n_rows is not None and values.size != n_rows):
        wanted = "one dimension" if n_rows is None else f"shape ({n_rows},)"
        raise InvalidInputError(f"{name} must have {wanted}, got shape {values.shape}")
    missing = ~np.isfinite(values)
    if missing.any() and not allow_nan:
        raise InvalidInputError(
            f"{name} must be finite, got {values[missing][0]} in row {int(np.argmax(missing))}; "
            "drop rows without an outcome before scoring"
        )
    return values
