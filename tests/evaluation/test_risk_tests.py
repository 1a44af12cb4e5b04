"""Backtests against scipy, statsmodels, brute force and published values; size and power."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.risk_tests import (
    acerbi_szekely,
    christoffersen,
    dynamic_quantile,
    kupiec,
    traffic_light,
)
from regimeslot.forecast import MixtureForecast


def clustered(seed: int, n: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hits = np.zeros(n, bool)
    for t in range(1, n):
        hits[t] = rng.random() < (0.3 if hits[t - 1] else 0.04)
    return hits


@pytest.mark.parametrize(("x", "n", "level"), [(15, 1000, 0.01), (0, 200, 0.05), (50, 50, 0.05)])
def test_kupiec_is_the_likelihood_ratio_of_two_binomials(x: int, n: int, level: float) -> None:
    ratio = 2 * (stats.binom.logpmf(x, n, x / n) - stats.binom.logpmf(x, n, level))
    result = kupiec(np.arange(n) < x, level)
    assert_allclose(result.statistic, ratio, rtol=1e-9, atol=1e-9)
    assert_allclose(result.p, stats.chi2.sf(ratio, 1), rtol=1e-9)


@pytest.mark.parametrize(
    ("days", "level", "inside"),
    [
        (255, 0.01, range(1, 7)),
        (510, 0.01, range(2, 11)),
        (1000, 0.01, range(5, 17)),
        (255, 0.05, range(7, 21)),
        (510, 0.05, range(17, 36)),
        (1000, 0.05, range(38, 65)),
    ],
)
def test_kupiec_does_not_reject_in_the_published_regions(days, level, inside) -> None:
    """Kupiec (1995), table 3; as reprinted in Jorion, Value at Risk (2007), table 6-2.

    The table prints fewer than 7 of 255 at 1 % and is silent about none, which the test rejects.
    """
    accepted = [x for x in range(days // 8) if kupiec(np.arange(days) < x, level).p > 0.05]
    assert accepted == list(inside)


def test_christoffersen_is_the_likelihood_of_each_row() -> None:
    hits = clustered(1)
    hits[[0, -1]] = False, True  # else time could run backwards unnoticed
    result = christoffersen(hits, 0.05)

    def log_likelihood(rate_after: dict[bool, float]) -> float:
        return sum(
            np.log(rate_after[bool(a)] if b else 1.0 - rate_after[bool(a)])
            for a, b in itertools.pairwise(hits)
        )

    after = {state: hits[1:][hits[:-1] == state].mean() for state in (True, False)}
    chain = log_likelihood(after)
    flat = log_likelihood(dict.fromkeys((True, False), hits[1:].mean()))
    null = log_likelihood(dict.fromkeys((True, False), 0.05))
    assert_allclose(result.independence.statistic, 2 * (chain - flat), rtol=1e-9)
    assert_allclose(result.conditional_coverage.statistic, 2 * (chain - null), rtol=1e-9)
    assert_allclose(result.conditional_coverage.p, stats.chi2.sf(2 * (chain - null), 2), rtol=1e-9)
    assert_allclose(result.independence.p, stats.chi2.sf(2 * (chain - flat), 1), rtol=1e-9)
    assert_allclose([result.after_hit, result.after_miss], [after[True], after[False]], rtol=1e-12)
    rate = kupiec(hits[1:], 0.05).statistic
    total = result.independence.statistic + rate
    assert_allclose(result.conditional_coverage.statistic, total, rtol=1e-9)
    assert result.independence.p < 0.01


def test_no_hits_at_all_says_nothing_about_independence() -> None:
    result = christoffersen(np.zeros(300, bool), 0.01)
    assert result.independence.p == 1.0
    assert np.isnan(result.after_hit)
    assert_allclose(result.conditional_coverage.statistic, -2 * 299 * np.log(0.99), rtol=1e-9)


@pytest.mark.parametrize("with_risk", [True, False])
def test_dynamic_quantile_is_least_squares_of_statsmodels(with_risk: bool) -> None:
    import statsmodels.api as sm

    hits = clustered(2)
    risk = 0.02 + 0.005 * np.random.default_rng(3).standard_normal(600)
    result = dynamic_quantile(hits, 0.05, risk if with_risk else None, lags=4)
    demeaned = hits - 0.05
    columns = [np.ones(596)] + [demeaned[4 - lag : 600 - lag] for lag in range(1, 5)]
    X = np.column_stack([*columns, risk[4:]] if with_risk else columns)
    fit = sm.OLS(demeaned[4:], X).fit()
    wanted = fit.params @ X.T @ X @ fit.params / (0.05 * 0.95)
    assert_allclose(result.statistic, wanted, rtol=1e-9)
    assert result.df == X.shape[1]
    assert_allclose(result.p, stats.chi2.sf(wanted, X.shape[1]), rtol=1e-9)
    assert result.p < 0.01


def test_dynamic_quantile_leaves_out_columns_that_say_nothing() -> None:
    hits = clustered(4)
    same = dynamic_quantile(hits, 0.05, np.full(600, 0.02))
    assert same == dynamic_quantile(hits, 0.05)
    assert dynamic_quantile(np.zeros(300), 0.05).df == 1


def test_acerbi_szekely_is_its_formula() -> None:
    rng = np.random.default_rng(5)
    scale = np.exp(0.3 * rng.standard_normal(250)) / 100
    y = scale * rng.standard_normal(250)
    result = acerbi_szekely(MixtureForecast(np.ones((250, 1)), 0.0, scale[:, None], np.inf), y)
    q = stats.norm.ppf(0.025)
    shortfall = scale * stats.norm.pdf(q) / 0.025
    hits = y < scale * q
    wanted = np.sum(y[hits] / shortfall[hits]) / (250 * 0.025) + 1
    assert_allclose(result.statistic, wanted, rtol=1e-8)
    assert (result.hits, result.n) == (hits.sum(), 250)
    assert result.p > 0.05


@pytest.mark.parametrize("dof", [10.0, 100.0])
def test_acerbi_szekely_has_the_published_critical_value(dof: float) -> None:
    """Acerbi and Szekely (2014): for 250 rows at 2.5 % it is -.7 at 5 %, whatever the tail."""
    f = MixtureForecast(np.ones((250, 1)), 0.0, 1.0, dof)
    limit, shortfall = f.value_at_risk(0.025)[:1], f.expected_shortfall(0.025)[:1]
    extra = (0.70 + 1.0) * 250 * 0.025 * shortfall  # losses that make Z = -.7
    y = np.zeros(250)
    y[:8] = -extra / 8
    assert extra / 8 > limit
    result = acerbi_szekely(f, y, draws=8000)
    assert_allclose(result.statistic, -0.70, atol=1e-9)
    assert_allclose(result.p, 0.05, atol=0.012)


def test_acerbi_szekely_sees_understated_tails_that_a_rate_does_not() -> None:
    rng = np.random.default_rng(6)
    n = 2000
    f = MixtureForecast(np.ones((n, 1)), 0.0, 0.01, np.inf)
    y = 0.01 * rng.standard_normal(n)
    beyond = y < -f.value_at_risk(0.025)
    y[beyond] *= 1.6
    assert kupiec(y < -f.value_at_risk(0.025), 0.025).p > 0.05
    assert acerbi_szekely(f, y).p < 0.01
    assert acerbi_szekely(f, 0.5 * y).p > 0.9


def test_traffic_light_is_the_supervisors_table() -> None:
    """Basel Committee (1996), table 2: cumulative probabilities in per cent, 250 rows at 1 %."""
    published = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
    zones = ["green"] * 5 + ["yellow"] * 5 + ["red"]
    for x, (probability, zone) in enumerate(zip(published, zones, strict=True)):
        light = traffic_light(np.arange(250) < x)
        assert light.zone == zone
        assert_allclose(100 * light.probability, probability, atol=0.006)


def test_faults() -> None:
    with pytest.raises(InvalidInputError, match="true or false"):
        kupiec([0.5, 1.0], 0.05)
    with pytest.raises(InvalidInputError, match="level must lie"):
        kupiec([True, False], 5.0)
    with pytest.raises(TooFewRowsError):
        christoffersen([True], 0.05)
    with pytest.raises(TooFewRowsError):
        dynamic_quantile(np.zeros(10), 0.05)
    with pytest.raises(InvalidInputError, match="must have 300 rows"):
        dynamic_quantile(np.zeros(300), 0.05, np.zeros(5))
    no_mean = MixtureForecast(np.ones((30, 1)), 0.0, 1.0, 0.9)
    with pytest.raises(InvalidInputError, match="finite and positive"):
        acerbi_szekely(no_mean, np.zeros(30))


@pytest.mark.slow
def test_size_of_the_tests_of_hits() -> None:
    """Enough rows for the chi-square: with few expected hits the tests are coarse."""
    hits = np.random.default_rng(7).uniform(size=(2000, 4000)) < 0.05
    p = np.array(
        [
            (
                kupiec(h, 0.05).p,
                (both := christoffersen(h, 0.05)).independence.p,
                both.conditional_coverage.p,
                dynamic_quantile(h, 0.05).p,
            )
            for h in hits
        ]
    )
    rates = np.mean(p < 0.05, axis=0)
    assert np.all((rates >= 0.04) & (rates <= 0.065)), rates


@pytest.mark.slow
def test_size_of_acerbi_szekely() -> None:
    rng = np.random.default_rng(8)
    f = MixtureForecast(np.ones((250, 1)), 0.0, 1.0, 5.0)
    p = [
        acerbi_szekely(f, y, draws=199, random_state=rng).p
        for y in rng.standard_t(5, size=(2000, 250))
    ]
    assert 0.04 <= np.mean(np.array(p) <= 0.05) <= 0.065
