"""Diebold-Mariano against statsmodels, and against what it must be by definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import (
    compare_table,
    diebold_mariano,
    long_run_variance,
    newey_west_lags,
)


def losses(seed: int, n: int = 300, gain: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Two squared errors whose difference is autocorrelated."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.normal(size=n + 3), [1.0, 0.6, 0.3, 0.1], "valid")
    return noise**2, (noise + gain + 0.3 * rng.normal(size=n)) ** 2


def brute_variance(x: np.ndarray, lags: int) -> float:
    centred, n = x - x.mean(), x.size
    total = 0.0
    for s in range(n):
        for t in range(n):
            total += max(0.0, 1.0 - abs(s - t) / (lags + 1)) * centred[s] * centred[t]
    return total / n


@pytest.mark.parametrize("lags", [0, 1, 4, 11])
def test_long_run_variance_is_the_double_sum(lags: int) -> None:
    x = np.random.default_rng(0).normal(size=12)
    assert_allclose(long_run_variance(x, lags), brute_variance(x, lags), rtol=1e-10, atol=1e-14)


def test_long_run_variance_of_an_autoregression() -> None:
    """For y_t = r y_{t-1} + e_t it is 1 / (1 - r)^2."""
    rng = np.random.default_rng(3)
    x = np.zeros(200_000)
    for t, e in enumerate(rng.normal(size=x.size - 1), start=1):
        x[t] = 0.5 * x[t - 1] + e
    assert_allclose(long_run_variance(x, 60), 4.0, rtol=0.06)


def test_default_lags() -> None:
    """Newey and West (1994): 4 (n / 100)^(2/9)."""
    assert [newey_west_lags(n) for n in (100, 500, 1000, 5000)] == [4, 5, 6, 9]
    assert newey_west_lags(100, horizon=22) == 21
    assert newey_west_lags(3, horizon=22) == 2
    a, b = losses(1)
    assert diebold_mariano(a, b).lags == 5
    assert diebold_mariano(a, b, horizon=10).lags == 9


@pytest.mark.parametrize("hln", [False, True])
@pytest.mark.parametrize(("horizon", "lags"), [(1, 0), (1, 5), (4, 3), (4, None)])
def test_is_the_test_of_statsmodels(hln: bool, horizon: int, lags: int | None) -> None:
    stattools = pytest.importorskip("statsmodels.tsa.stattools")
    if not hasattr(stattools, "diebold_mariano_test"):
        pytest.skip("this statsmodels has no diebold_mariano_test")
    rng = np.random.default_rng(8)
    y = rng.normal(size=120)
    one, two = y + rng.normal(size=120), y + 0.2 + 1.1 * rng.normal(size=120)
    ours = diebold_mariano((y - one) ** 2, (y - two) ** 2, horizon=horizon, hln=hln, lags=lags)
    theirs = stattools.diebold_mariano_test(
        y, one, two, lags=ours.lags, criterion="mse", harvey_adj=hln, horizon=horizon
    )
    assert_allclose([ours.t, ours.p], [theirs.statistic, theirs.pvalue], rtol=1e-9)


def test_is_least_squares_on_a_constant() -> None:
    from statsmodels.regression.linear_model import OLS

    a, b = losses(2)
    ours = diebold_mariano(a, b, hln=False)
    robust = {"maxlags": ours.lags, "use_correction": False}
    fit = OLS(a - b, np.ones(a.size)).fit(cov_type="HAC", cov_kwds=robust)
    got = [ours.mean_difference, ours.t, ours.p]
    assert_allclose(got, [fit.params[0], fit.tvalues[0], fit.pvalues[0]], rtol=1e-9)


def test_without_lags_it_is_the_t_test() -> None:
    """The t-test divides by n - 1; the correction with h = 1 is sqrt((n - 1) / n): the same."""
    a, b = losses(5, n=40)
    ours = diebold_mariano(a, b, lags=0)
    theirs = stats.ttest_rel(a, b)
    assert_allclose([ours.t, ours.p], [theirs.statistic, theirs.pvalue], rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-6, 1e6))
def test_swapping_turns_the_sign_and_units_do_not_matter(seed: int, unit: float) -> None:
    a, b = losses(seed, n=60)
    one, other = diebold_mariano(a, b), diebold_mariano(unit * b, unit * a)
    assert_allclose(one.t, -other.t, rtol=1e-8)
    assert_allclose(one.p, other.p, rtol=1e-8)
    assert_allclose(unit * one.mean_difference, -other.mean_difference, rtol=1e-8)


def test_size_under_the_null() -> None:
    rng = np.random.default_rng(12)
    rejected = [
        diebold_mariano(*(rng.normal(size=(2, 200)) ** 2), horizon=1).p < 0.05 for _ in range(400)
    ]
    assert 0.02 < np.mean(rejected) < 0.09


def test_a_difference_that_never_changes() -> None:
    a = np.random.default_rng(0).normal(size=50) ** 2
    same = diebold_mariano(a, a)
    assert (same.t, same.p, same.mean_difference) == (0.0, 1.0, 0.0)
    better = diebold_mariano(a, a + 0.1)  # equal in each row up to rounding
    assert (better.t, better.p) == (-np.inf, 0.0)
    assert_allclose(better.mean_difference, -0.1, rtol=1e-12)
    rounded = diebold_mariano(a, (a + 1e3) - 1e3, lags=0)
    assert rounded.p > 1e-3  # rounding of a thousand is not rounding of the losses: a real series
    assert diebold_mariano(a, a * (1.0 + 1e-16)).t == 0.0


def test_compare_table() -> None:
    a, b = losses(3)
    dates = pd.date_range("2020-01-01", periods=a.size)
    given_losses = {"a": pd.Series(a, dates), "b": pd.Series(b, dates), "c": pd.Series(b, dates)}
    table = compare_table(given_losses, "b", horizon=2)
    assert list(table.index) == ["a", "c"]
    single = diebold_mariano(a, b, horizon=2)
    expected = [a.mean(), single.mean_difference, single.t, single.p, single.n, single.lags]
    assert_allclose(table.loc["a"].to_numpy(float), expected, rtol=1e-12)
    assert table.loc["c", "p"] == 1.0
    assert list(compare_table({"b": b}, "b").columns) == list(table.columns)


def test_faults() -> None:
    a, b = losses(0, n=10)
    broken = b.copy()
    broken[4] = np.nan
    with pytest.raises(InvalidInputError, match="loss_b must be finite, got nan in row 4"):
        diebold_mariano(a, broken)
    with pytest.raises(InvalidInputError, match="loss_a must be finite, got inf"):
        diebold_mariano(np.where(a > 0, np.inf, a), b)
    with pytest.raises(InvalidInputError, match="same rows, got 10 and 9"):
        diebold_mariano(a, b[1:])
    with pytest.raises(InvalidInputError, match="same index"):
        diebold_mariano(pd.Series(a), pd.Series(b, range(1, 11)))
    with pytest.raises(InvalidInputError, match="one dimension"):
        diebold_mariano(a[:, None], b)
    with pytest.raises(InvalidInputError, match="lags must be below"):
        diebold_mariano(a, b, lags=10)
    with pytest.raises(InvalidInputError, match="horizon must be a whole number from 1"):
        diebold_mariano(a, b, horizon=0)
    with pytest.raises(InvalidInputError, match="too long for the small-sample"):
        diebold_mariano(a, b, horizon=10)
    with pytest.raises(TooFewRowsError, match="at least 2 rows"):
        diebold_mariano([1.0], [2.0])
    with pytest.raises(InvalidInputError, match="reference must be one of 'a', 'b'"):
        compare_table({"a": a, "b": b}, "c")
