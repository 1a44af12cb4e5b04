"""Scores against their definitions, written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation import scores
from regimeslot.forecast import MixtureForecast

N = 400


@pytest.fixture
def y() -> pd.Series:
    rng = np.random.default_rng(4)
    dates = pd.date_range("2020-01-01", periods=N, freq="B", name="Date")
    return pd.Series(0.01 * rng.standard_t(5, N), dates)


@pytest.fixture
def normal(y: pd.Series) -> MixtureForecast:
    return MixtureForecast(1.0, 0.001, np.full((N, 1), 0.012), np.inf, index=y.index)


def test_log_score_and_crps_per_row(normal: MixtureForecast, y: pd.Series) -> None:
    z = (y.to_numpy() - 0.001) / 0.012
    assert_allclose(scores.log_score(normal, y), stats.norm.logpdf(z) - np.log(0.012), rtol=1e-12)
    closed = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert_allclose(scores.crps(normal, y), 0.012 * closed, rtol=1e-10)


def test_qlike(normal: MixtureForecast, y: pd.Series) -> None:
    expected = np.log(0.012**2) + (y - 0.001) ** 2 / 0.012**2
    assert_allclose(scores.qlike(normal, y), expected, rtol=1e-12)


def test_qlike_is_smallest_at_the_true_mean_and_variance() -> None:
    y = np.array([-1.0, 2.0, 0.5, 0.1])

    def mean_loss(m: float, s: float) -> float:
        forecast = MixtureForecast(np.ones((4, 1)), m, s, np.inf)
        return float(scores.qlike(forecast, y).mean())

    best = mean_loss(y.mean(), y.std())
    for m, s in ((1.1, 1.0), (0.9, 1.0), (1.0, 1.01), (1.0, 0.99)):
        assert best < mean_loss(m * y.mean(), s * y.std())


def test_qlike_without_a_variance() -> None:
    assert_array_equal(scores.qlike(MixtureForecast(1.0, 0.0, 1.0, 2.0), [0.5]), [np.inf])


@pytest.mark.parametrize("horizon", [1, 3])
def test_expanding_mean_knows_only_finished_targets(horizon: int) -> None:
    y = np.random.default_rng(0).normal(size=12)
    got = scores.expanding_mean(y, horizon=horizon)
    expected = [y[: t - horizon + 1].mean() if t >= horizon else np.nan for t in range(12)]
    assert_allclose(got, expected, rtol=1e-12)
    moved = y.copy()
    moved[7:] += 100.0
    unmoved = 7 + horizon
    assert_array_equal(scores.expanding_mean(moved, horizon=horizon)[:unmoved], got[:unmoved])


def test_expanding_mean_of_a_series_shorter_than_the_horizon() -> None:
    assert_array_equal(scores.expanding_mean([1.0, 2.0], horizon=5), [np.nan, np.nan])


def test_r2_against_a_regression() -> None:
    """In sample, least squares with a constant against the mean gives the usual R2."""
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(2, 50))
    y = 0.5 * x + noise
    line = stats.linregress(x, y)
    fitted = line.intercept + line.slope * x
    assert_allclose(scores.r2_oos(fitted, y, y.mean()), line.rvalue**2, rtol=1e-12)
    assert scores.r2_oos(y, y, 0.0) == 1.0
    assert_allclose(scores.r2_oos(np.zeros(50), y, np.zeros(50)), 0.0, atol=0)
    assert scores.r2_oos([1.0, 2.0], [0.0, 0.0], 0.0) == -np.inf
    assert np.isnan(scores.r2_oos([np.nan, 2.0], [0.0, 1.0], 0.5))


def test_hit_rate_counts_losses_beyond_the_var(normal: MixtureForecast, y: pd.Series) -> None:
    threshold = 0.001 + 0.012 * stats.norm.ppf(0.05)
    assert scores.hit_rate(normal, y, 0.05) == np.mean(y < threshold)
    true = MixtureForecast(1.0, 0.0, np.full((N, 1), 0.01), 5.0)
    assert abs(scores.hit_rate(true, y, 0.05) - 0.05) < 0.033  # three standard errors


def test_score_table(normal: MixtureForecast, y: pd.Series) -> None:
    student = MixtureForecast(1.0, 0.0, np.full((N, 1), 0.01), 5.0, index=y.index)
    both = {"normal": normal, "pool": MixtureForecast.pool([normal, student])}
    table = scores.score_table(both, y, 0.0, seconds={"pool": 1.5})
    names = ["log_score", "crps", "r2_oos", "qlike", "var_1_hit", "var_5_hit", "seconds"]
    assert list(table.columns) == names
    assert list(table.index) == ["normal", "pool"]
    assert table.index.name == "model"
    assert_array_equal(table["seconds"], [np.nan, 1.5])
    for name, forecast in both.items():
        row = table.loc[name]
        assert_allclose(row["log_score"], forecast.logpdf(y).mean(), rtol=1e-14)
        assert_allclose(row["crps"], forecast.crps(y).mean(), rtol=1e-14)
        assert_allclose(row["qlike"], scores.qlike(forecast, y).mean(), rtol=1e-14)
        assert_allclose(row["r2_oos"], scores.r2_oos(forecast.mean(), y, 0.0), rtol=1e-14)
        assert row["var_1_hit"] == scores.hit_rate(forecast, y, 0.01)
        assert row["var_5_hit"] == scores.hit_rate(forecast, y, 0.05)
    assert "seconds" not in scores.score_table(both, y, 0.0)


def test_faults(normal: MixtureForecast, y: pd.Series) -> None:
    broken = y.copy()
    broken.iloc[3] = np.nan
    with pytest.raises(InvalidInputError, match="got nan in row 3"):
        scores.log_score(normal, broken)
    with pytest.raises(InvalidInputError, match=r"shape \(400,\)"):
        scores.crps(normal, y[:-1])
    with pytest.raises(InvalidInputError, match="index of the forecast"):
        scores.score_table({"normal": normal}, y.shift(freq="D"), 0.0)
    with pytest.raises(InvalidInputError, match="at least one model"):
        scores.score_table({}, y, 0.0)
    with pytest.raises(InvalidInputError, match="no rows"):
        scores.score_table({"none": normal[:0]}, [], 0.0)
    with pytest.raises(InvalidInputError, match="benchmark_mean"):
        scores.r2_oos(y, y, scores.expanding_mean(y))
    with pytest.raises(InvalidInputError, match="horizon must be"):
        scores.expanding_mean(y, horizon=0)


@pytest.mark.parametrize("width", [0.001, 0.02, 0.5])
def test_interval_score_is_the_integral_of_the_density(width: float) -> None:
    mixture = MixtureForecast([0.3, 0.7], [-0.1, 0.2], [0.05, 0.1], [4.0, np.inf], skew=[0.3, 0.0])
    for y in (-0.4, -0.1, 0.05, 0.9):
        points = np.linspace(y - width / 2, y + width / 2, 20001)
        mass = np.trapezoid(mixture.pdf(points[None])[0], points)
        assert_allclose(
            scores.interval_log_score(mixture, [y], width), np.log(mass), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("far", [7.0, 20.0])
def test_interval_score_far_in_either_tail_keeps_its_digits(far: float) -> None:
    normal = MixtureForecast(1.0, 0.0, 1.0, np.inf)
    near, beyond = stats.norm.logsf([far - 0.1, far + 0.1])
    expected = near + np.log1p(-np.exp(beyond - near))
    for y in (far, -far):
        assert_allclose(scores.interval_log_score(normal, [y], 0.2), expected, rtol=1e-12)


def test_interval_score_beyond_the_smallest_float_is_finite() -> None:
    normal = MixtureForecast(1.0, 0.0, 1.0, np.inf)
    beyond = scores.interval_log_score(normal, [60.0], 0.2)[0]  # no float is as small as its mass
    assert_allclose(beyond, stats.norm.logsf(59.9), rtol=1e-4)


def test_interval_scores_of_a_grid_are_probabilities_and_spikes_gain_nothing() -> None:
    grid = np.arange(-40, 41) * 0.1
    law = MixtureForecast(np.ones((81, 1)), 0.03, 0.4, 5.0)
    assert_allclose(np.exp(scores.interval_log_score(law, grid, 0.1)).sum(), 1.0, atol=1e-3)
    spike = MixtureForecast(np.ones((1, 1)), 0.0, 1e-9, np.inf)
    assert scores.log_score(spike, [0.0])[0] > 15.0
    assert_allclose(scores.interval_log_score(spike, [0.0], 0.1), 0.0, atol=1e-12)


def test_interval_score_of_fine_rounding_is_the_density(normal, y) -> None:
    fine = scores.interval_log_score(normal, y, 1e-7)
    assert_allclose(fine, scores.log_score(normal, y) + np.log(1e-7), atol=1e-5)
    table = scores.score_table({"normal": normal}, y, 0.0, rounded_to=0.01)
    expected = scores.interval_log_score(normal, y, 0.01).mean()
    assert_allclose(table.loc["normal", "log_score"], expected, rtol=1e-12)


@pytest.mark.parametrize("width", [0.0, -0.1, np.nan, np.inf, "0.1", True])
def test_a_width_must_be_a_positive_number(width, normal, y) -> None:
    with pytest.raises(InvalidInputError, match="positive number"):
        scores.interval_log_score(normal, y, width)


def test_the_last_known_value_waits_for_the_target_to_end() -> None:
    known = scores.last_known([1.0, 3.0, 8.0, 2.0], horizon=2)
    assert_array_equal(known, [np.nan, np.nan, 1.0, 3.0])
    with pytest.raises(InvalidInputError, match="horizon"):
        scores.last_known([1.0], horizon=0)
