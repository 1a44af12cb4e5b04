"""Rounded series: seen where rounding matters, and a PIT that is uniform in spite of it."""

import numpy as np
import pytest
from scipy.stats import kstest

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.rounding import rounded_uniforms, rounding_note, rounding_step
from regimeslot.forecast import MixtureForecast


@pytest.mark.parametrize("step", [100.0, 1.0, 0.5, 0.25, 0.125, 0.1, 0.01, 0.001])
def test_the_step_of_a_coarse_series_is_found(step):
    rng = np.random.default_rng(0)
    values = step * (40 + np.cumsum(rng.integers(-2, 3, 300)))
    assert rounding_step(values) == pytest.approx(step, rel=1e-12)
    assert rounding_step(values + 0.3 * step * rng.random(300)) is None


def test_fine_rounding_is_no_rounding():
    rng = np.random.default_rng(1)
    prices = np.round(100 + np.cumsum(rng.standard_normal(300)), 2)
    assert rounding_step(prices) is None
    assert rounding_step(np.full(50, 0.1)) is None
    assert rounding_step([0.1, 0.2, 0.3]) is None


def test_zeros_and_ones_are_rounded_to_one():
    assert rounding_step([0.0, 0.0, 0.0, 1.0, 1.0] * 8) == 1.0


def test_the_note_names_the_step_and_returns_have_none():
    values = [5.1, 5.0, 5.2] * 10
    assert "rounded_to=0.1 " in rounding_note(values, "diff")
    assert rounding_note(values, "log-return") is None
    assert rounding_note(np.random.default_rng(0).standard_normal(60), "level") is None


def test_uniforms_of_rounded_values_are_uniform():
    rng = np.random.default_rng(3)
    y = np.round(rng.standard_normal(4000))
    normal = MixtureForecast(np.ones((4000, 1)), 0.0, 1.0, np.inf)
    u = rounded_uniforms(normal, y, 1.0)
    assert kstest(u, "uniform").pvalue > 0.05
    assert kstest(normal.cdf(y), "uniform").pvalue < 1e-6
    np.testing.assert_array_equal(u, rounded_uniforms(normal, y, 1.0))
    with pytest.raises(InvalidInputError, match="positive number"):
        rounded_uniforms(normal, y, 0.0)
