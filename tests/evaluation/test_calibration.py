"""Calibration tests against scipy and against the Kalman filter of statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.calibration import berkowitz, kolmogorov_smirnov, pit_histogram


def test_pit_band_is_that_of_the_binomial() -> None:
    n = 1234
    u = np.random.default_rng(0).uniform(size=n)
    pit = pit_histogram(u)
    assert_allclose(pit.heights.mean(), 1.0, rtol=1e-12)
    assert_allclose(pit.low, stats.binom.ppf(0.025, n, 0.05) * 20 / n, rtol=1e-12)
    assert_allclose(pit.high, stats.binom.ppf(0.975, n, 0.05) * 20 / n, rtol=1e-12)
    test = stats.chisquare(np.histogram(u, 20, (0, 1))[0])
    assert_allclose([pit.statistic, pit.p], [test.statistic, test.pvalue], rtol=1e-9)
    assert pit.outside == np.sum((pit.heights < pit.low) | (pit.heights > pit.high))


def test_kolmogorov_smirnov_is_that_of_scipy() -> None:
    u = np.random.default_rng(1).uniform(size=77) ** 1.2
    test, wanted = kolmogorov_smirnov(u), stats.kstest(u, stats.uniform.cdf)
    assert_allclose([test.statistic, test.p], [wanted.statistic, wanted.pvalue], rtol=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.4])
def test_berkowitz_is_the_exact_likelihood_of_statsmodels(correlation: float) -> None:
    from statsmodels.tsa.arima.model import ARIMA

    e = np.random.default_rng(2).standard_normal(150)
    z = np.empty(150)
    z[0] = e[0]
    for t in range(1, 150):
        z[t] = 0.2 + correlation * z[t - 1] + 0.8 * e[t]
    result = berkowitz(stats.norm.cdf(z))
    model = ARIMA(z, order=(1, 0, 0), trend="c")
    innovation = result.std**2 * (1.0 - result.autocorrelation**2)
    ours = np.array([result.mean, result.autocorrelation, innovation])
    null = stats.norm.logpdf(z).sum()
    assert_allclose(result.statistic, 2.0 * (model.loglike(ours) - null), rtol=1e-6)
    assert_allclose(result.p, stats.chi2.sf(result.statistic, 3), rtol=1e-9)
    # and it is the maximum
    fitted = model.fit(method_kwargs={"maxiter": 500})
    assert model.loglike(ours) >= fitted.llf - 1e-8
    for bump in 0.01 * np.eye(3):
        assert model.loglike(ours) > max(model.loglike(ours + bump), model.loglike(ours - bump))


def test_berkowitz_says_what_is_wrong() -> None:
    rng = np.random.default_rng(3)
    z = rng.standard_normal(500)
    assert berkowitz(stats.norm.cdf(z)).p > 0.05
    assert berkowitz(stats.norm.cdf(z + 0.3)).mean > 0.15
    assert berkowitz(stats.norm.cdf(1.5 * z)).std > 1.3
    lagged = (z[1:] + z[:-1]) / np.sqrt(2)
    assert berkowitz(stats.norm.cdf(lagged)).autocorrelation > 0.3
    assert np.isfinite(berkowitz(np.append(stats.norm.cdf(z), [0.0, 1.0])).statistic)


def test_faults() -> None:
    for test in (pit_histogram, kolmogorov_smirnov, berkowitz):
        with pytest.raises(InvalidInputError, match="must lie in"):
            test(np.linspace(0, 1.2, 30))
        with pytest.raises(InvalidInputError, match="finite"):
            test([0.5, np.nan])
    with pytest.raises(TooFewRowsError):
        berkowitz([0.5, 0.6])
    with pytest.raises(InvalidInputError, match="same value"):
        berkowitz(np.full(20, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("test", [pit_histogram, kolmogorov_smirnov, berkowitz])
def test_size(test) -> None:
    uniforms = np.random.default_rng(4).uniform(size=(2000, 500))
    p = np.array([test(u).p for u in uniforms])
    assert 0.04 <= np.mean(p < 0.05) <= 0.065
