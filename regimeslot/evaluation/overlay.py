"""What a volatility forecast is worth to someone who holds the asset: an overlay, after costs.

The rules are fixed and were never fitted to any series; nothing here is advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison_checks import as_series

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.walk_forward import Study

__all__ = [
    "HOLD",
    "OVERLAY_BASELINE",
    "Overlay",
    "OverlayRules",
    "Strategy",
    "overlay",
    "run_overlay",
]

Array = NDArray[np.float64]

HOLD = "buy and hold"
OVERLAY_BASELINE = "gjr-garch"
_DRAWS = 1000
_LEAST_ROWS = 50  # below them a bootstrap of blocks says nothing


@dataclass(frozen=True)
class OverlayRules:
    """What is done with a forecast.

    Attributes
    ----------
    target : float
        Volatility a year that the position aims at, 0.10 for 10 %.
    cap : float
        Largest position, in multiples of the capital.
    cost : float
        Of each trade, in basis points of what is traded.
    """

    target: float = 0.10
    cap: float = 2.0
    cost: float = 5.0

    def __post_init__(self) -> None:
        wrong = [k for k, v in asdict(self).items() if not (np.isfinite(v) and v >= 0.0)]
        if wrong or self.target == 0.0 or self.cap == 0.0:
            raise InvalidInputError(
                "an overlay needs a target and a cap above 0, and a cost of at least 0 basis "
                f"points, got target={self.target}, cap={self.cap}, cost={self.cost}"
            )


@dataclass(frozen=True, eq=False)
class Strategy:
    """One position path and what it earned.

    Attributes
    ----------
    position : (n,)
        Held over each row, in multiples of the capital; taken at the close before the row.
    traded : (n,)
        What was traded at that close, in multiples of the capital.
    returns : (n,)
        Simple returns of the capital after costs.
    """

    position: Array
    traded: Array
    returns: Array

    @property
    def wealth(self) -> Array:
        """What one unit has become after each row (n,)."""
        return np.asarray(np.cumprod(1.0 + self.returns))

    @property
    def drawdown(self) -> float:
        """Largest loss from a peak, a share of the peak; the start counts as one."""
        path = np.concatenate([[1.0], self.wealth])
        return float(np.max(1.0 - path / np.maximum.accumulate(path)))


@dataclass(frozen=True, eq=False)
class Overlay:
    """Result of :func:`overlay`.

    Attributes
    ----------
    rules : OverlayRules
    per_year : float
        Rows a year, as counted.
    strategies : dict of Strategy
        By model name, and :data:`HOLD`.
    table : DataFrame
        By strategy: ``mean`` and ``volatility`` a year, ``sharpe`` with ``sharpe_low`` and
        ``sharpe_high``, ``drawdown``, ``position`` (mean), ``turnover`` a year (in multiples of
        the capital) and ``cost`` a year.
    differences : DataFrame
        Sharpe ratio of ``strategy`` less that of ``against``, with ``low`` and ``high``.
    """

    rules: OverlayRules
    per_year: float
    strategies: dict[str, Strategy]
    table: pd.DataFrame
    differences: pd.DataFrame

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, without the paths."""
        return {
            "rules": asdict(self.rules),
            "rows_a_year": self.per_year,
            "strategies": {str(k): v for k, v in self.table.to_dict("index").items()},
            "sharpe_differences": self.differences.to_dict("records"),
        }


def run_overlay(std: ArrayLike, returns: ArrayLike, rules: OverlayRules | None = None) -> Strategy:
    """Hold ``min(cap, target / std)`` over each row, and pay for each trade.

    The position of row t is taken at the close before it, from a forecast made by then. Between
    two closes it drifts with the price; what is traded is the difference to the position that has
    drifted there. Cash earns nothing, and borrowing costs nothing.

    Parameters
    ----------
    std : (n,)
        Predicted standard deviation of each row as a share of a year's: in the unit of ``target``.
        Infinite, or not a number, holds nothing.
    returns : (n,)
        Simple returns of the asset into each row.
    rules : OverlayRules, optional

    Examples
    --------
    >>> path = run_overlay([0.05, 0.2], [0.01, -0.01], OverlayRules(cost=0.0))
    >>> path.position.tolist(), path.returns.round(4).tolist()
    ([2.0, 0.5], [0.02, -0.005])
    """
    rules = rules or OverlayRules()
    expected = np.asarray(std, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.minimum(rules.target / expected, rules.cap)
    return _path(np.where(np.isfinite(expected), wanted, 0.0), as_series(returns, "returns"), rules)


def _path(position: Array, returns: Array, rules: OverlayRules) -> Strategy:
    if position.shape != returns.shape:
        raise InvalidInputError(
            f"one forecast for each return is needed, got {position.size} and {returns.size}"
        )
    growth = 1.0 + position * returns
    with np.errstate(divide="ignore", invalid="ignore"):
        drifted = np.where(growth > 0.0, position * (1.0 + returns) / growth, 0.0)
    traded = np.abs(position - np.concatenate([[0.0], drifted[:-1]]))
    earned = np.maximum(position * returns - 1e-4 * rules.cost * traded, -1.0)
    return Strategy(position, traded, earned)


def overlay(
    study: Study,
    models: Sequence[str] = ("pool", "gjr-garch"),
    *,
    rules: OverlayRules | None = None,
    seed: int = 0,
) -> Overlay | None:
    """Volatility-targeted overlays by several models' forecasts, beside buying and holding.

    Parameters
    ----------
    study : Study
    models : sequence of str
        Those that the study holds are taken; the first is compared with the others.
    rules : OverlayRules, optional
    seed : int
        Of the stationary bootstrap of the Sharpe ratios: the 95 % intervals are percentiles over
        1,000 draws of blocks of sqrt(n) rows on average, the same rows for all strategies.

    Returns
    -------
    Overlay, or None
        None where nothing can be held or annualised: no log-returns, no dates, no such model, or
        fewer than 50 rows.

    References
    ----------
    Moreira, A. and Muir, T. (2017). Volatility-managed portfolios. Journal of Finance 72.
    Ledoit, O. and Wolf, M. (2008). Robust performance hypothesis testing with the Sharpe ratio.
    Journal of Empirical Finance 15.

    Examples
    --------
    >>> import pandas as pd
    >>> from regimeslot.evaluation.walk_forward import walk_forward
    >>> from regimeslot.features import make_dataset
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(700)
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates))
    >>> study = walk_forward(["slots-single"], data, train_size=500, refit_every=100)
    >>> list(overlay(study, ["slots-single"]).table.index)
    ['slots-single', 'buy and hold']
    """
    import pandas as pd

    held = [name for name in dict.fromkeys(models) if name in study.forecasts]
    index = study.y.index
    dated = isinstance(index, pd.DatetimeIndex)
    if study.dataset.transform != "log-return" or not held or not dated or len(index) < _LEAST_ROWS:
        return None
    rules = rules or OverlayRules()
    per_year = (len(index) - 1) / ((index[-1] - index[0]).days / 365.25)
    returns = np.expm1(study.dataset.returns.iloc[study.rows].to_numpy(dtype=float))
    steps_a_year = np.sqrt(per_year / study.dataset.horizon)
    strategies = {
        name: run_overlay(study.forecasts[name].std() * steps_a_year, returns, rules)
        for name in held
    }
    strategies[HOLD] = _path(np.ones(len(returns)), returns, rules)
    names = list(strategies)
    pairs = [(0, k) for k in range(1, len(names))]
    earned = np.column_stack([s.returns for s in strategies.values()])
    ratio, low, high = _sharpe_intervals(earned, per_year, pairs, seed)
    rows = {
        name: {
            "mean": float(s.returns.mean() * per_year),
            "volatility": float(s.returns.std() * np.sqrt(per_year)),
            "sharpe": float(ratio[k]),
            "sharpe_low": float(low[k]),
            "sharpe_high": float(high[k]),
            "drawdown": s.drawdown,
            "position": float(s.position.mean()),
            "turnover": float(s.traded.mean() * per_year),
            "cost": float(1e-4 * rules.cost * s.traded.mean() * per_year),
        }
        for k, (name, s) in enumerate(strategies.items())
    }
    over = [
        {
            "strategy": names[a],
            "against": names[b],
            "sharpe": ratio[k],
            "low": low[k],
            "high": high[k],
        }
        for k, (a, b) in enumerate(pairs, start=len(names))
    ]
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("strategy")
    return Overlay(rules, float(per_year), strategies, table, pd.DataFrame(over))


def _sharpe_intervals(
    earned: Array, per_year: float, pairs: Sequence[tuple[int, int]], seed: int
) -> tuple[Array, Array, Array]:
    """Sharpe ratios a year of each column, then differences of pairs; and 95 % intervals."""
    from arch.bootstrap import StationaryBootstrap

    first, second = np.array(pairs).T

    def ratios(rows: Array) -> Array:
        spread = rows.std(axis=0)
        each = np.sqrt(per_year) * rows.mean(axis=0) / np.where(spread > 0.0, spread, np.inf)
        return np.concatenate([each, each[first] - each[second]])

    blocks = StationaryBootstrap(np.sqrt(len(earned)), earned, seed=seed)
    low, high = blocks.conf_int(ratios, _DRAWS, method="percentile")
    return ratios(earned), low, high
