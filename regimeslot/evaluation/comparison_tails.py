"""Proper scores that look at the tails alone, and stay proper while doing so."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison_checks import as_series, require_same_rows
from regimeslot.forecast import MixtureForecast

__all__ = ["censored_log_score", "threshold_weighted_crps"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(15)
_RATIO = 0.8  # of the logarithm of a panel's borders, seen from a component
_CHUNK = 500_000  # values of the distribution function at a time


def censored_log_score(
    forecast: MixtureForecast,
    y: ArrayLike,
    *,
    below: ArrayLike | None = None,
    above: ArrayLike | None = None,
) -> Array:
    """Log score of the tails: the density inside them, the probability of the rest outside.

    ``log f(y)`` where ``y <= below`` or ``y >= above``, else ``log(1 - P(tails))``: the censored
    likelihood score. Unlike the log score of the tail rows alone it does not favour models that
    put too much weight there.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
    below, above : scalar or (n,)
        Borders of the lower and the upper tail, in the unit of y, known before the row; give one
        or both, the same to each model that is compared.

    Returns
    -------
    (n,)
        In nats; larger is better.

    Raises
    ------
    InvalidInputError
        No border, borders that cross, missing values, another length or another index.

    References
    ----------
    Diks, C., Panchenko, V. and van Dijk, D. (2011). Likelihood-based scoring rules for comparing
    density forecasts in tails. Journal of Econometrics 163, 215-230.

    Examples
    --------
    >>> two_days = MixtureForecast(np.ones((2, 1)), 0.0, 1.0, np.inf)
    >>> censored_log_score(two_days, [-2.0, 0.3], below=-1.0).round(4)
    array([-2.9189, -0.1728])
    """
    outcomes, low, high = _checked(forecast, y, below, above)
    if above is None:
        rest = _mirrored(forecast).cdf(-low)  # 1 - F has no digits left where F is close to one
    elif below is None:
        rest = forecast.cdf(high)
    else:
        rest = np.maximum(forecast.cdf(high) - forecast.cdf(low), 0.0)
    inside = (outcomes <= low) | (outcomes >= high)
    with np.errstate(divide="ignore"):
        return np.where(inside, forecast.logpdf(outcomes), np.log(rest))


def threshold_weighted_crps(
    forecast: MixtureForecast,
    y: ArrayLike,
    *,
    below: ArrayLike | None = None,
    above: ArrayLike | None = None,
) -> Array:
    """Continuous ranked probability score of the tails alone, in the unit of y.

    ``integral w(x) (F(x) - 1{y <= x})^2 dx`` with w one in the tails and zero between; smaller is
    better. By quadrature, to about 1e-7 of the score.

    Parameters
    ----------
    forecast, y, below, above : as in :func:`censored_log_score`

    Returns
    -------
    (n,)
        Infinite where a component that has weight has ``dof <= 1/2``.

    References
    ----------
    Gneiting, T. and Ranjan, R. (2011). Comparing density forecasts using threshold- and
    quantile-weighted scoring rules. Journal of Business and Economic Statistics 29, 411-422.

    Examples
    --------
    >>> one_day = MixtureForecast(1.0, 0.0, 1.0, np.inf)
    >>> threshold_weighted_crps(one_day, [0.5], below=-1.0).round(4)
    array([0.0072])
    """
    outcomes, low, high = _checked(forecast, y, below, above)
    score = np.zeros(outcomes.size)
    if below is not None:
        score += _lower_part(forecast, outcomes, low)
    if above is not None:
        score += _lower_part(_mirrored(forecast), -outcomes, -high)
    return score


def _lower_part(forecast: MixtureForecast, y: Array, border: Array) -> Array:
    """``integral_{-inf}^border (F(x) - 1{y <= x})^2 dx``."""
    score = _squared_tail(forecast, border)
    reached = y < border
    if reached.any():
        # (1 - F)^2 - F^2 between y and the border is what the score gains on the way
        rows = forecast[reached]
        score[reached] += rows.crps(y[reached]) - rows.crps(border[reached])
    return np.maximum(score, 0.0)


def _squared_tail(forecast: MixtureForecast, border: Array) -> Array:
    """``integral_{-inf}^border F(x)^2 dx`` by Gauss-Legendre panels.

    The panels grow geometrically away from each component's location, in its own scale, so that no
    panel is wide against its distance from where the distribution function bends.
    """
    live = forecast.weights > 0
    slowest = np.where(live, forecast.dof, np.inf).min(axis=1)
    result = np.where(slowest <= 0.5, np.inf, 0.0)
    # F^2 integrates to x^(1 - 2 dof): this many powers of e leave out less than 1e-11
    decay = np.clip(26.0 / np.maximum(2.0 * slowest - 1.0, 1e-3), 4.0, 600.0)
    narrowest = np.where(live, forecast.scales, np.inf).min(axis=1)
    widest = np.where(live, forecast.scales, 0.0).max(axis=1)
    away = np.where(live, np.abs(border[:, None] - forecast.locations), 0.0).max(axis=1)
    reach = np.minimum(np.arcsinh((away + widest) / narrowest) + decay, 650.0)
    steps = np.ceil(reach / _RATIO).astype(int)
    order = np.argsort(steps, kind="stable")
    order = order[np.isfinite(result[order])]
    while order.size:
        # rows of about the same number of panels at a time
        each = forecast.n_components * (2 * int(steps[order[0]]) + 9) * _NODES.size
        rows, order = np.split(order, [max(1, _CHUNK // each)])
        near = steps[rows] <= steps[rows[0]] + 4
        rows, order = rows[near], np.concatenate([rows[~near], order])
        most = int(steps[rows[-1]])
        offsets = np.sinh(_RATIO * np.arange(-most, most + 1))
        location, scale = forecast.locations[rows, :, None], forecast.scales[rows, :, None]
        edges = (location + scale * offsets).reshape(rows.size, -1)
        edges = np.sort(np.minimum(edges, border[rows, None]), axis=1)
        edges = np.column_stack([edges, border[rows]])
        half = 0.5 * np.diff(edges, axis=1)
        used = np.any(half > 0.0, axis=0)  # panels beyond the border have no width
        half, left = half[:, used], edges[:, :-1][:, used]
        x = left[:, :, None] + half[:, :, None] * (1.0 + _NODES)
        tail = forecast[rows].cdf(x.reshape(rows.size, -1)).reshape(x.shape)
        result[rows] = np.einsum("npq,np,q->n", tail**2, half, _WEIGHTS)
    return result


def _mirrored(forecast: MixtureForecast) -> MixtureForecast:
    """Distribution of minus the outcome."""
    return MixtureForecast(
        forecast.weights, -forecast.locations, forecast.scales, forecast.dof, -forecast.skew
    )


def _checked(
    forecast: MixtureForecast, y: ArrayLike, below: ArrayLike | None, above: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Outcomes and the two borders, infinite where there is none, each (n,)."""
    outcomes = as_series(y, "y")
    if outcomes.size != len(forecast):
        raise InvalidInputError(
            f"y must have one value per forecast, {len(forecast)}, got {outcomes.size}"
        )
    if forecast.index is not None and hasattr(y, "index"):
        require_same_rows(forecast.index.to_series(), y, "forecast and y")
    if below is None and above is None:
        raise InvalidInputError("give below, above or both: the borders of the tails to score")
    borders = []
    for name, border, none in (("below", below, -np.inf), ("above", above, np.inf)):
        values = np.asarray(none if border is None else border, np.float64)
        if values.shape not in ((), outcomes.shape) or (
            border is not None and not np.isfinite(values).all()
        ):
            raise InvalidInputError(
                f"{name} must be a finite number or {outcomes.size} of them, "
                f"got shape {values.shape}"
            )
        borders.append(np.broadcast_to(values, outcomes.shape))
    low, high = borders
    if np.any(low >= high):
        raise InvalidInputError("below must be smaller than above in each row")
    return outcomes, low, high
