"""Clark-West and Giacomini-White against least squares of statsmodels, and their size and power."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison_conditional import clark_west, giacomini_white


@pytest.mark.parametrize(("horizon", "lags"), [(1, 0), (1, 5), (4, 3)])
def test_clark_west_is_its_regression_on_a_constant(horizon: int, lags: int) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    y, small, large = rng.standard_normal((3, 300))
    small, large = 0.1 * small, 0.2 * large
    result = clark_west(y, small, large, horizon=horizon, lags=lags)
    f = (y - small) ** 2 - (y - large) ** 2 + (small - large) ** 2
    robust = {"maxlags": lags, "use_correction": False}
    fit = sm.OLS(f, np.ones(300)).fit(cov_type="HAC", cov_kwds=robust)
    assert_allclose(result.t, fit.tvalues[0], rtol=1e-9)
    assert_allclose(result.p, fit.pvalues[0] / 2 if result.t > 0 else 1 - fit.pvalues[0] / 2)
    assert_allclose(result.mean_difference, fit.params[0], rtol=1e-9)


@pytest.mark.parametrize("given", [True, False])
def test_giacomini_white_is_rows_times_r2_of_a_constant_one(given: bool) -> None:
    """The source's own form for one step: n R2 of the regression of 1 on h d."""
    import statsmodels.api as sm

    rng = np.random.default_rng(2)
    a, b, known = rng.standard_normal((3, 250))
    d = a - b
    h = np.column_stack([np.ones(250), known])
    result = giacomini_white(a, b, h if given else None)
    if not given:
        h, d = np.column_stack([np.ones(249), d[:-1]]), d[1:]
    fit = sm.OLS(np.ones(len(d)), h * d[:, None]).fit()
    assert_allclose(result.statistic, len(d) * fit.rsquared, rtol=1e-9)
    assert_allclose(result.coefficients, sm.OLS(d, h).fit().params, rtol=1e-9)
    assert result.df == 2
    assert result.n == len(d)


def test_giacomini_white_over_several_steps_uses_bartlett_weights() -> None:
    from statsmodels.stats.sandwich_covariance import S_hac_simple

    rng = np.random.default_rng(3)
    a, b, known = rng.standard_normal((3, 200))
    h = np.column_stack([np.ones(200), known])
    z = h * (a - b)[:, None]
    S = S_hac_simple(z, nlags=3) / 200
    wanted = 200 * z.mean(0) @ np.linalg.inv(S) @ z.mean(0)
    assert_allclose(giacomini_white(a, b, h, horizon=4).statistic, wanted, rtol=1e-9)


def test_default_instrument_of_h_steps_is_known_before_the_row() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 120))
    d = a - b
    h = np.column_stack([np.ones(117), d[:-3]])
    wanted = giacomini_white(a[3:], b[3:], h, horizon=3)
    assert_allclose(giacomini_white(a, b, horizon=3).statistic, wanted.statistic, rtol=1e-12)


def test_one_instrument_is_diebold_mariano_about_zero() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 80))
    d = a - b
    wanted = 80 * d.mean() ** 2 / np.mean(d**2)
    assert_allclose(giacomini_white(a, b, np.ones(80)).statistic, wanted, rtol=1e-12)


def test_a_winner_one_could_foresee_is_found_where_the_averages_are_equal() -> None:
    rng = np.random.default_rng(6)
    known = np.where(np.arange(400) % 2, 1.0, -1.0)
    d = 0.5 * known + rng.standard_normal(400)
    d -= d.mean()
    result = giacomini_white(d, np.zeros(400), np.column_stack([np.ones(400), known]))
    assert result.p < 1e-6
    assert_allclose(result.coefficients, [0.0, 0.5], atol=0.15)


def test_faults() -> None:
    y = np.arange(5.0)
    with pytest.raises(InvalidInputError, match="must differ"):
        clark_west(y, 0.0, 0.0)
    with pytest.raises(InvalidInputError, match="same rows"):
        clark_west(y, np.zeros(4), np.zeros(5))
    with pytest.raises(InvalidInputError, match="same index"):
        clark_west(pd.Series(y), pd.Series(y, index=range(1, 6)), 0.0)
    with pytest.raises(TooFewRowsError):
        clark_west([1.0], 0.0, 1.0)
    with pytest.raises(InvalidInputError, match="instruments must be finite"):
        giacomini_white(y, 0 * y, np.full(5, np.nan))
    with pytest.raises(InvalidInputError, match="independent"):
        giacomini_white(y + 1, 0 * y, np.ones((5, 2)))
    with pytest.raises(TooFewRowsError):
        giacomini_white(y[:2], 0 * y[:2], horizon=2)


@pytest.mark.slow
def test_size_of_giacomini_white() -> None:
    rng = np.random.default_rng(7)
    losses = rng.standard_normal((2000, 2, 500)) ** 2
    p = np.array([giacomini_white(a, b).p for a, b in losses])
    assert 0.04 <= np.mean(p < 0.05) <= 0.065


@pytest.mark.slow
def test_size_of_clark_west_for_nested_regressions() -> None:
    """A predictor without value, estimated on a rolling window; the source finds 2 to 6 %."""
    rng = np.random.default_rng(8)
    window, test, rejected = 60, 240, 0
    for _ in range(2000):
        x, y = rng.standard_normal((2, window + test))
        sums = [np.cumsum(np.append(0.0, v)) for v in (x, y, x * x, x * y)]
        sx, sy, sxx, sxy = ((s[window:-1] - s[: -window - 1]) / window for s in sums)
        slope = (sxy - sx * sy) / (sxx - sx**2)
        large = sy + slope * (x[window:] - sx)
        rejected += clark_west(y[window:], sy, large, lags=0).p < 0.05
    assert 0.02 <= rejected / 2000 <= 0.06
