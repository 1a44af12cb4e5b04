"""VaR and ES at any level, and thresholds that learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.risk import (
    adaptive_levels,
    adaptive_value_at_risk,
    coverage,
    risk_table,
)
from regimeslot.forecast import MixtureForecast


def test_adaptive_levels_wait_until_an_outcome_is_known():
    uniforms = np.random.default_rng(5).uniform(size=60)
    changed = uniforms.copy()
    changed[30:] = 0.0  # rows from 30 on are known from row 34 on
    before, after = (adaptive_levels(u, 0.05, horizon=4) for u in (uniforms, changed))
    assert_allclose(before[:34], after[:34], rtol=0, atol=0)
    assert before[34] != after[34]
    assert_allclose(before[:4], 0.05, rtol=0, atol=0)
    # By hand: row 4 knows row 0 alone.
    step = 0.01 * (0.05 - (uniforms[0] <= 0.05))
    assert_allclose(before[4], 0.05 + step, rtol=1e-12)
    with pytest.raises(InvalidInputError, match="horizon"):
        adaptive_levels(uniforms, 0.05, horizon=0)


def test_risk_of_a_student_t_is_the_closed_form() -> None:
    """McNeil, Frey and Embrechts (2015), examples 2.11 and 2.15."""
    index = pd.bdate_range("2020-01-01", periods=2)
    f = MixtureForecast(np.ones((2, 1)), 0.001, [[0.01], [0.02]], 4.0, index=index)
    table = risk_table(f, [0.001, 0.025, 0.2])
    assert table.index.equals(index)
    for level in (0.001, 0.025, 0.2):
        q = stats.t.ppf(level, 4)
        shortfall = stats.t.pdf(q, 4) / level * (4 + q * q) / 3
        scale = np.array([0.01, 0.02])
        assert_allclose(table["var", level], -0.001 - scale * q, rtol=1e-8)
        assert_allclose(table["es", level], -0.001 + scale * shortfall, rtol=1e-8)
    with pytest.raises(InvalidInputError, match="each level must lie"):
        risk_table(f, [5.0])


def test_adaptive_threshold_is_the_written_recursion() -> None:
    uniforms = np.random.default_rng(1).uniform(size=300)
    for level, step in ((0.05, 0.01), (0.01, 0.002), (0.1, 0.02)):
        a, expected = level, []
        for u in uniforms:
            expected.append(a)
            a = min(max(a + step * (level - (u <= a)), 1e-4), 0.5)
        assert_allclose(adaptive_levels(uniforms, level), [*expected, a], rtol=1e-12)
    assert_allclose(adaptive_levels(uniforms, 0.05, step=0.0), 0.05, rtol=1e-12)


def test_adaptive_threshold_repairs_the_rate_with_past_rows_alone() -> None:
    uniforms = np.random.default_rng(2).uniform(size=4000) ** 1.4  # far too many small ones
    for c in coverage(uniforms):
        assert c.raw > 1.5 * c.level
        assert c.words == "too many"
        assert c.p < 0.05 < c.adapted_p
        assert abs(c.adapted - c.level) < 0.4 * c.level
        assert_allclose([c.hits.mean(), c.adapted_hits.mean()], [c.raw, c.adapted], rtol=1e-12)
    changed = uniforms.copy()
    changed[2000:] = 0.999
    before, after = adaptive_levels(uniforms, 0.05), adaptive_levels(changed, 0.05)
    assert_array_equal(before[:2001], after[:2001])


def test_adapted_value_at_risk_is_the_quantile_at_its_level() -> None:
    rng = np.random.default_rng(3)
    n = 400
    f = MixtureForecast([0.8, 0.2], [0.0, -0.01], [[0.01, 0.03]] * n, [8.0, 3.0])
    y = 0.02 * rng.standard_normal(n)
    table = adaptive_value_at_risk(f, y, 0.05)
    levels = table["adapted_level"].to_numpy()
    assert_allclose(levels, adaptive_levels(f.cdf(y), 0.05)[:-1], rtol=1e-12)
    assert_allclose(f.cdf(-table["adapted_var"].to_numpy()), levels, atol=1e-9)
    assert_allclose(table["raw_var"], f.value_at_risk(0.05), rtol=1e-12)
    assert_array_equal(table["raw_hit"], y < -f.value_at_risk(0.05))
    assert_array_equal(table["adapted_hit"], y < -table["adapted_var"])


def test_faults() -> None:
    with pytest.raises(InvalidInputError, match="uniforms must be finite"):
        adaptive_levels([0.5, np.nan], 0.05)
    with pytest.raises(InvalidInputError, match="level must lie"):
        adaptive_levels([0.5], 5)
    with pytest.raises(InvalidInputError, match="step must be"):
        adaptive_levels([0.5], 0.05, step=-1.0)
