"""Backtests of value at risk and expected shortfall: rate, independence, size of the losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, chdtrc, xlogy

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison_checks import as_series, as_share, as_whole
from regimeslot.forecast import MixtureForecast

__all__ = [
    "Backtest",
    "Christoffersen",
    "ShortfallTest",
    "TrafficLight",
    "acerbi_szekely",
    "christoffersen",
    "dynamic_quantile",
    "kupiec",
    "traffic_light",
]

Array = NDArray[np.float64]

_CHUNK = 2_000_000  # simulated outcomes at a time


@dataclass(frozen=True)
class Backtest:
    """A statistic that is chi-square with ``df`` degrees of freedom where the VaR is right."""

    statistic: float
    p: float
    df: int


@dataclass(frozen=True)
class Christoffersen:
    """Result of :func:`christoffersen`.

    Attributes
    ----------
    independence : Backtest
        Whether a hit makes a hit in the next row likelier; says nothing about the rate.
    conditional_coverage : Backtest
        Rate and independence together.
    after_hit, after_miss : float
        Share of hits in rows after a hit and after none; NaN where there was no such row.
    """

    independence: Backtest
    conditional_coverage: Backtest
    after_hit: float
    after_miss: float


@dataclass(frozen=True)
class ShortfallTest:
    """Result of :func:`acerbi_szekely`.

    Attributes
    ----------
    statistic : float
        0 on average where VaR and ES are right, negative where losses are larger than forecast.
    p : float
        One-sided: small where risk is understated.
    hits, n : int
    """

    statistic: float
    p: float
    hits: int
    n: int


@dataclass(frozen=True)
class TrafficLight:
    """Result of :func:`traffic_light`: zone, hits, and the probability of at most that many."""

    zone: str
    hits: int
    n: int
    probability: float


def kupiec(hits: ArrayLike, level: float) -> Backtest:
    """Likelihood-ratio test that losses exceed the VaR with probability ``level``.

    Parameters
    ----------
    hits : (n,) of bool
        Rows whose loss exceeded the VaR.
    level : float
        Tail probability, 0.01 for the 1 % VaR.

    References
    ----------
    Kupiec, P. (1995). Techniques for verifying the accuracy of risk measurement models. Journal of
    Derivatives 3, 73-84.

    Examples
    --------
    >>> round(kupiec(np.arange(1000) < 15, 0.01).p, 4)
    0.139
    """
    exceeded, alpha = _hits(hits), as_share(level, "level")
    n, x = exceeded.size, int(exceeded.sum())
    statistic = max(2.0 * (_log_likelihood(x, n, x / n) - _log_likelihood(x, n, alpha)), 0.0)
    return Backtest(statistic, float(chdtrc(1, statistic)), 1)


def christoffersen(hits: ArrayLike, level: float) -> Christoffersen:
    """Likelihood-ratio tests against hits that follow a first-order Markov chain.

    Independence: one rate in all rows against one after hits and one after misses. Conditional
    coverage: ``level`` in all rows against those two. Both given the first row.

    Parameters
    ----------
    hits, level : as in :func:`kupiec`

    Raises
    ------
    TooFewRowsError
        Fewer than two rows.

    References
    ----------
    Christoffersen, P. F. (1998). Evaluating interval forecasts. International Economic Review 39,
    841-862.

    Examples
    --------
    >>> in_clusters = np.arange(1000) % 100 < 5
    >>> result = christoffersen(in_clusters, 0.05)
    >>> result.independence.p < 0.001, round(result.after_hit, 2)
    (True, 0.8)
    """
    exceeded, alpha = _hits(hits), as_share(level, "level")
    if exceeded.size < 2:
        raise TooFewRowsError(f"the test of independence needs 2 rows, got {exceeded.size}")
    before, now = exceeded[:-1], exceeded[1:]
    n_hit, n_miss = int(before.sum()), int((~before).sum())
    x_hit, x_miss = int(now[before].sum()), int(now[~before].sum())
    after_hit = x_hit / n_hit if n_hit else np.nan
    after_miss = x_miss / n_miss if n_miss else np.nan
    chain = _log_likelihood(x_hit, n_hit, after_hit) + _log_likelihood(x_miss, n_miss, after_miss)
    n, x = n_hit + n_miss, x_hit + x_miss
    independence = max(2.0 * (chain - _log_likelihood(x, n, x / n)), 0.0)
    conditional = max(2.0 * (chain - _log_likelihood(x, n, alpha)), 0.0)
    return Christoffersen(
        Backtest(independence, float(chdtrc(1, independence)), 1),
        Backtest(conditional, float(chdtrc(2, conditional)), 2),
        float(after_hit),
        float(after_miss),
    )


def dynamic_quantile(
    hits: ArrayLike, level: float, value_at_risk: ArrayLike | None = None, *, lags: int = 4
) -> Backtest:
    """Dynamic quantile test: nothing known before a row tells whether it will be a hit.

    ``b' X'X b / (a (1 - a))`` with b the regression of ``hit - a`` on a constant, its own lags and
    the row's VaR; chi-square with as many degrees of freedom as there are columns.

    Parameters
    ----------
    hits, level : as in :func:`kupiec`
    value_at_risk : (n,), optional
        Forecasts of the VaR; left out where they never vary.
    lags : int

    Raises
    ------
    InvalidInputError
        VaR of another length or with missing values.
    TooFewRowsError
        Fewer rows than twice the columns.

    References
    ----------
    Engle, R. F. and Manganelli, S. (2004). CAViaR: conditional autoregressive value at risk by
    regression quantiles. Journal of Business and Economic Statistics 22, 367-381.

    Examples
    --------
    >>> in_clusters = np.arange(1000) % 100 < 5
    >>> dynamic_quantile(in_clusters, 0.05).p < 0.001
    True
    """
    exceeded, alpha = _hits(hits), as_share(level, "level")
    depth = as_whole(lags, "lags", 0)
    n = exceeded.size
    if n < 2 * (depth + 2) + depth:
        raise TooFewRowsError(f"{depth} lags need {3 * depth + 4} rows or more, got {n}")
    demeaned: Array = exceeded.astype(np.float64) - alpha
    columns: list[Array] = [np.ones(n - depth)]
    columns += [demeaned[depth - lag : n - lag] for lag in range(1, depth + 1)]
    if value_at_risk is not None:
        risk = as_series(value_at_risk, "value_at_risk")
        if risk.size != n:
            raise InvalidInputError(f"value_at_risk must have {n} rows, got {risk.size}")
        if np.ptp(risk[depth:]) > 0.0:
            # in its own units: the test does not change, and X'X stays well conditioned
            columns.append((risk[depth:] - risk[depth:].mean()) / risk[depth:].std())
    X = np.column_stack(columns)
    fitted = X @ np.linalg.lstsq(X, demeaned[depth:], rcond=None)[0]
    df = int(np.linalg.matrix_rank(X))  # lags of hits that never came add nothing
    statistic = float(fitted @ fitted / (alpha * (1.0 - alpha)))
    return Backtest(statistic, float(chdtrc(df, statistic)), df)


def acerbi_szekely(
    forecast: MixtureForecast,
    y: ArrayLike,
    level: float = 0.025,
    *,
    draws: int = 1000,
    random_state: int | np.random.Generator | None = 0,
) -> ShortfallTest:
    """Test of expected shortfall and VaR together, by simulation from the forecasts themselves.

    ``Z = 1 - sum_t L_t 1{L_t > VaR_t} / (n a ES_t)`` with the loss ``L = -y``: the second test of
    the source. Its distribution where the forecasts are right is simulated row by row, so that the
    p-value is exact for any mix of tails.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    y : (n,)
    level : float
        Tail probability a.
    draws : int
        Simulated histories.
    random_state : int or Generator, optional

    Raises
    ------
    InvalidInputError
        Missing outcomes, or an ES that is infinite or not positive in some row.

    References
    ----------
    Acerbi, C. and Szekely, B. (2014). Backtesting expected shortfall. Risk, December.

    Examples
    --------
    >>> calm = MixtureForecast(np.ones((250, 1)), 0.0, 0.01, np.inf)
    >>> y = 0.02 * np.random.default_rng(0).standard_normal(250)
    >>> acerbi_szekely(calm, y).p < 0.01
    True
    """
    outcomes, alpha = as_series(y, "y"), as_share(level, "level")
    n = len(forecast)
    if outcomes.size != n:
        raise InvalidInputError(f"y must have one value per forecast, {n}, got {outcomes.size}")
    paths = as_whole(draws, "draws", 1)
    limit, shortfall = forecast.value_at_risk(alpha), forecast.expected_shortfall(alpha)
    usable = np.isfinite(shortfall) & (shortfall > 0.0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InvalidInputError(
            f"expected shortfall must be finite and positive, got {shortfall[row]} in row {row}; "
            "use a lower level, or a model with more than one degree of freedom"
        )
    share = 1.0 / (n * alpha * shortfall)
    beyond = -outcomes > limit
    statistic = 1.0 - float(np.sum(-outcomes * share, where=beyond))
    rng = np.random.default_rng(random_state)
    as_low = 0
    step = max(1, _CHUNK // n)
    for begin in range(0, paths, step):
        losses = -forecast.sample(min(step, paths - begin), rng)
        beyond_too = losses > limit[:, None]
        simulated = 1.0 - np.sum(losses * share[:, None], axis=0, where=beyond_too)
        as_low += int(np.sum(simulated <= statistic))
    return ShortfallTest(statistic, (1 + as_low) / (1 + paths), int(beyond.sum()), n)


def traffic_light(hits: ArrayLike, level: float = 0.01) -> TrafficLight:
    """Basel traffic light: green below 95 %, yellow below 99.99 %, else red.

    The percentage is the binomial probability of at most as many hits. For 250 rows at 1 % these
    are the supervisors' zones: green up to 4 hits, yellow up to 9, red from 10.

    Parameters
    ----------
    hits, level : as in :func:`kupiec`

    References
    ----------
    Basel Committee on Banking Supervision (1996). Supervisory framework for the use of
    "backtesting" in conjunction with the internal models approach to market risk capital
    requirements.

    Examples
    --------
    >>> [traffic_light(np.arange(250) < x).zone for x in (4, 5, 9, 10)]
    ['green', 'yellow', 'yellow', 'red']
    """
    exceeded, alpha = _hits(hits), as_share(level, "level")
    n, x = exceeded.size, int(exceeded.sum())
    probability = float(bdtr(x, n, alpha))
    zone = "green" if probability < 0.95 else "yellow" if probability < 0.9999 else "red"
    return TrafficLight(zone, x, n, probability)


def _hits(values: ArrayLike) -> NDArray[np.bool_]:
    hits = as_series(values, "hits")
    if not np.isin(hits, (0.0, 1.0)).all():
        raise InvalidInputError("hits must be true or false in each row: y < -value_at_risk")
    return hits.astype(bool)


def _log_likelihood(hits: int, n: int, rate: float) -> float:
    """Of ``hits`` in n rows; 0 where there is no row."""
    return float(xlogy(hits, rate) + xlogy(n - hits, 1.0 - rate)) if n else 0.0
