"""Cumulative bands against arch's bootstrap, the fluctuation test against its source's table."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import diebold_mariano, long_run_variance
from regimeslot.evaluation.comparison_time import (
    block_length,
    cumulative_band,
    fluctuation_critical_value,
    fluctuation_test,
)


def test_band_is_the_circular_block_bootstrap_of_arch() -> None:
    from arch.bootstrap import CircularBlockBootstrap

    gain = np.random.default_rng(4).standard_normal(203)
    rows, low, high = cumulative_band(gain, seed=8)
    block = block_length(203)
    # arch draws the block starts of one sample after the other from the same generator
    bootstrap = CircularBlockBootstrap(block, gain - gain.mean(), seed=np.random.default_rng(8))
    paths = np.array([np.cumsum(data[0][0]) for data in bootstrap.bootstrap(400)])
    quantiles = np.quantile(paths, [0.025, 0.975], axis=0)
    assert_array_equal(rows, np.arange(203))
    assert_allclose(low, np.cumsum(gain) - quantiles[1], rtol=1e-9, atol=1e-9)
    assert_allclose(high, np.cumsum(gain) - quantiles[0], rtol=1e-9, atol=1e-9)


def test_the_band_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for trial in range(100):
        noise = rng.standard_normal(420)
        gain = 0.1 + noise[20:] + 0.5 * noise[19:-1]  # autocorrelated
        _, low, high = cumulative_band(gain, seed=trial)
        inside += low[-1] <= 0.1 * 400 <= high[-1]
    # 95 % nominal; blocks of seven rows lose a little. Binomial error: 2.2 points.
    assert 0.87 <= inside / 100 <= 1.0


def test_the_band_is_deterministic_and_starts_at_the_first_row() -> None:
    gain = np.random.default_rng(0).standard_normal(700)
    first, second = cumulative_band(gain), cumulative_band(gain)
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)
    assert first[0][0] == 0
    assert first[0][-1] == 699
    assert np.all(first[1] <= first[2])


def test_blocks_longer_than_the_series_are_cut() -> None:
    rows, low, high = cumulative_band(np.array([0.1, -0.1, 0.2]), horizon=5)
    assert len(rows) == len(low) == len(high) == 3


# Giacomini and Rossi (2010), table I: two-sided critical values at 5 % and 10 %.
PUBLISHED = {
    0.1: (3.393, 3.170),
    0.2: (3.179, 2.948),
    0.3: (3.012, 2.766),
    0.4: (2.890, 2.626),
    0.5: (2.779, 2.500),
    0.6: (2.634, 2.356),
    0.7: (2.560, 2.252),
    0.8: (2.433, 2.130),
    0.9: (2.248, 1.950),
}


@pytest.mark.parametrize("window", sorted(PUBLISHED))
def test_critical_values_are_the_published_ones(window: float) -> None:
    """To the simulation error of both sides: theirs and ours are of a few thousand paths."""
    ours = [fluctuation_critical_value(1000, window, size) for size in (0.05, 0.10)]
    assert_allclose(ours, PUBLISHED[window], atol=0.09)


def test_path_is_the_sum_over_each_window_by_hand() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 90))
    result = fluctuation_test(a, b, window=0.25, lags=3)
    m, d = 22, a - b
    scale = np.sqrt(long_run_variance(d, 3) * m)
    by_hand = [d[t - m + 1 : t + 1].sum() / scale for t in range(m - 1, 90)]
    assert result.window == m
    assert_allclose(result.path, by_hand, rtol=1e-9, atol=1e-12)
    assert_array_equal(result.rows, np.arange(m - 1, 90))
    assert_allclose(result.statistic, np.abs(by_hand).max(), rtol=1e-9)
    assert (result.p < 0.05) == (result.statistic > result.critical_value)


def test_equal_on_average_and_never_equal_is_found() -> None:
    noise = np.random.default_rng(0).standard_normal(600)
    loss = noise + np.repeat([-0.6, 0.6], 300)
    result = fluctuation_test(loss, np.zeros(600))
    assert diebold_mariano(loss, np.zeros(600)).p > 0.05
    assert result.p < 0.01
    assert result.path[0] < -result.critical_value
    assert result.path[-1] > result.critical_value


def test_faults() -> None:
    x = np.random.default_rng(0).standard_normal(50)
    with pytest.raises(InvalidInputError, match="differ"):
        fluctuation_test(x, x)
    with pytest.raises(TooFewRowsError):
        fluctuation_test(x[:10], -x[:10])
    with pytest.raises(InvalidInputError, match="window must lie"):
        fluctuation_test(x, -x, window=1.5)
    with pytest.raises(InvalidInputError, match="gain must be finite"):
        cumulative_band([1.0, np.nan])


@pytest.mark.slow
def test_size_of_the_fluctuation_test() -> None:
    rng = np.random.default_rng(6)
    losses = rng.standard_normal((2000, 2, 1000))
    p = np.array([fluctuation_test(a, b, lags=1).p for a, b in losses])
    assert 0.04 <= np.mean(p < 0.05) <= 0.065


@pytest.mark.slow
def test_size_of_the_band_at_its_end() -> None:
    rng = np.random.default_rng(7)
    outside = 0
    for trial in range(2000):
        _, low, high = cumulative_band(rng.standard_normal(1000), seed=trial)
        outside += not low[-1] <= 0.0 <= high[-1]
    assert 0.04 <= outside / 2000 <= 0.065
