"""Value at risk and expected shortfall: forecasts at any level, thresholds that learn, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison_checks import as_series, as_share
from regimeslot.evaluation.risk_tests import kupiec
from regimeslot.forecast import MixtureForecast
from regimeslot.forecast.root import mixture_quantile

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LEVELS",
    "Coverage",
    "adaptive_levels",
    "adaptive_value_at_risk",
    "coverage",
    "risk_table",
]

Array = NDArray[np.float64]

LEVELS = (0.01, 0.05)

_STEPS = {0.01: 0.002, 0.05: 0.01}  # step of the adaptive threshold, per level
_LOWEST, _HIGHEST = 1e-4, 0.5  # where an adaptive level is held


@dataclass(frozen=True, eq=False)
class Coverage:
    """Losses beyond one VaR level, as forecast and, beside it, with the adaptive threshold.

    Attributes
    ----------
    level : float
        Tail probability that was forecast.
    hits, adapted_hits : (n,) of bool
        Rows whose loss went beyond the threshold.
    raw, adapted : float
        Shares of such rows.
    p, adapted_p : float
        Of Kupiec's test. Adapted hits depend on one another, so theirs describes the rate and
        tests nothing.
    """

    level: float
    hits: NDArray[np.bool_]
    raw: float
    p: float
    adapted_hits: NDArray[np.bool_]
    adapted: float
    adapted_p: float

    @property
    def words(self) -> str:
        """Verdict on the raw coverage."""
        if self.p >= 0.05:
            return "right"
        return "too many" if self.raw > self.level else "too few"


def risk_table(forecast: MixtureForecast, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Value at risk and expected shortfall of every row, at any levels.

    They are of the forecast's own horizon: a forecast of five-day sums gives five-day risk.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
    levels : sequence of float
        Tail probabilities; 0.01 is the 1 % VaR.

    Returns
    -------
    DataFrame
        Columns ``var`` and ``es`` by level, positive numbers are losses, in the unit of the
        forecast.

    Examples
    --------
    >>> table = risk_table(MixtureForecast(1.0, 0.0, 0.01, np.inf), [0.025])
    >>> table.round(5).to_numpy().tolist()
    [[0.0196, 0.02338]]
    """
    import pandas as pd

    asked = [as_share(level, "each level") for level in levels]
    values = {}
    for name, measure in (("var", forecast.value_at_risk), ("es", forecast.expected_shortfall)):
        for level, column in zip(asked, np.asarray(measure(asked)).T, strict=True):
            values[name, level] = column
    table = pd.DataFrame(values, index=forecast.index)
    return table.rename_axis(columns=["measure", "level"])


def adaptive_levels(
    uniforms: ArrayLike, level: float, step: float | None = None, *, horizon: int = 1
) -> Array:
    """Level at which to read the next quantile, learned from the record of hits.

    ``a_{t+1} = a_t + g (level - 1{u_t <= a_t})`` from ``a_1 = level``, held within [1e-4, .5]:
    after a loss beyond the VaR the next one is set further out. Only hits known before row t are
    used, with horizon h those of rows up to t - h. The share of hits then tends to the level
    whatever the forecasts; what it cannot repair is which rows are hit.

    Parameters
    ----------
    uniforms : (n,)
        ``forecast.cdf(y)``, in order.
    level : float
        Tail probability wanted.
    step : float, optional
        g; default .002 at 1 %, .01 at 5 % and a fifth of the level elsewhere.
    horizon : int
        Rows until an outcome is known.

    Returns
    -------
    (n + 1,)
        The level of each row, and last that of the row to come.

    References
    ----------
    Gibbs, I. and Candes, E. (2021). Adaptive conformal inference under distribution shift.
    Advances in Neural Information Processing Systems 34.

    Examples
    --------
    >>> adaptive_levels([0.5, 0.01], 0.05).round(4)
    array([0.05  , 0.0505, 0.041 ])
    """
    u = as_series(uniforms, "uniforms")
    wanted = as_share(level, "level")
    gain = _STEPS.get(wanted, 0.2 * wanted) if step is None else float(step)
    if not gain >= 0.0:
        raise InvalidInputError(f"step must be 0 or more, got {step!r}")
    if horizon < 1:
        raise InvalidInputError(f"horizon must be at least 1 row, got {horizon}")
    levels = np.full(u.size + 1, wanted)
    for t in range(horizon, u.size + 1):
        hit = u[t - horizon] <= levels[t - horizon]
        levels[t] = min(max(levels[t - 1] + gain * (wanted - hit), _LOWEST), _HIGHEST)
    return levels


def adaptive_value_at_risk(
    forecast: MixtureForecast,
    y: ArrayLike,
    level: float,
    step: float | None = None,
    *,
    horizon: int = 1,
) -> pd.DataFrame:
    """Value at risk with a threshold that learns, always with the raw one beside it.

    Parameters
    ----------
    forecast : MixtureForecast of n rows
        In order.
    y : (n,)
        Outcomes.
    level, step, horizon : as in :func:`adaptive_levels`

    Returns
    -------
    DataFrame
        One row per forecast: ``raw_var`` and ``raw_hit`` as forecast, then ``adapted_level``,
        ``adapted_var`` and ``adapted_hit``.

    Examples
    --------
    >>> days = MixtureForecast(np.ones((3, 1)), 0.0, 0.01, np.inf)
    >>> table = adaptive_value_at_risk(days, [0.0, -0.03, 0.0], 0.05)
    >>> table["raw_var"].round(4).tolist(), table["adapted_var"].round(4).tolist()
    ([0.0164, 0.0164, 0.0164], [0.0164, 0.0164, 0.0174])
    """
    import pandas as pd

    outcomes = as_series(y, "y")
    uniforms = forecast.cdf(y)
    levels = adaptive_levels(uniforms, level, step, horizon=horizon)[:-1]
    weights, *parts = forecast.parameters
    raw = forecast.value_at_risk(level)
    adapted = -mixture_quantile(levels, weights, tuple(parts))
    return pd.DataFrame(
        {
            "raw_var": raw,
            "raw_hit": outcomes < -raw,
            "adapted_level": levels,
            "adapted_var": adapted,
            "adapted_hit": uniforms <= levels,
        },
        index=forecast.index,
    )


def coverage(
    uniforms: ArrayLike, levels: Sequence[float] = LEVELS, *, horizon: int = 1
) -> list[Coverage]:
    """Raw and adapted coverage at each level.

    Parameters
    ----------
    uniforms : (n,)
        ``forecast.cdf(y)``, in order.
    levels : sequence of float
    horizon : int
        Rows until an outcome is known.

    Examples
    --------
    >>> one, five = coverage(np.random.default_rng(0).uniform(size=2000))
    >>> one.words, five.words
    ('right', 'right')
    """
    u = as_series(uniforms, "uniforms")
    result = []
    for level in levels:
        raw = u < as_share(level, "each level")
        adapted = u <= adaptive_levels(u, level, horizon=horizon)[:-1]
        result.append(
            Coverage(
                level,
                raw,
                float(raw.mean()),
                kupiec(raw, level).p,
                adapted,
                float(adapted.mean()),
                kupiec(adapted, level).p,
            )
        )
    return result
