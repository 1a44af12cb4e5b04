"""The overlay by hand on small cases, its accounting, its intervals, and its causality."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.overlay import HOLD, OverlayRules, overlay, run_overlay
from regimeslot.evaluation.walk_forward import walk_forward
from regimeslot.features import make_dataset

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")

N = 700


def prices(seed=0):
    std = np.where(np.arange(N) % 100 < 60, 0.005, 0.02)
    steps = 0.0004 + std * np.random.default_rng(seed).standard_normal(N)
    dates = pd.bdate_range("2020-01-01", periods=N, name="Date")
    return pd.Series(100 * np.exp(np.cumsum(steps)), index=dates)


def study_of(series, names=("slots-single", "gjr-garch"), **options):
    data = make_dataset(series, **options)
    return walk_forward(list(names), data, train_size=500, refit_every=100)


@pytest.fixture(scope="module")
def study():
    return study_of(prices())


def test_three_days_by_hand():
    rules = OverlayRules(target=0.1, cap=2.0, cost=10.0)
    path = run_overlay([0.04, 0.2, 0.1], [0.02, -0.05, 0.01], rules)
    assert_array_equal(path.position, [2.0, 0.5, 1.0])
    # 2 grew to 2 * 1.02 / 1.04; then 0.5 shrank to 0.5 * 0.95 / 0.975.
    traded = [2.0, 2 * 1.02 / 1.04 - 0.5, 1.0 - 0.5 * 0.95 / 0.975]
    assert_allclose(path.traded, traded, rtol=1e-12)
    gross = np.array([0.04, -0.025, 0.01])
    assert_allclose(path.returns, gross - 0.001 * np.array(traded), rtol=1e-12)
    assert_allclose(path.wealth[-1], np.prod(1 + path.returns), rtol=1e-12)


def test_drawdown_counts_the_start_as_a_peak():
    rules = OverlayRules(target=1.0, cap=1.0, cost=0.0)
    path = run_overlay(np.ones(4), [-0.1, 0.2, -0.5, 0.3], rules)
    assert path.drawdown == pytest.approx(0.5, rel=1e-12)
    assert run_overlay(np.ones(2), [-0.1, 0.05], rules).drawdown == pytest.approx(0.1, rel=1e-12)


def test_a_forecast_without_a_variance_holds_nothing_and_a_ruin_stays_one():
    rules = OverlayRules(target=0.1, cap=2.0, cost=0.0)
    path = run_overlay([np.inf, np.nan, 0.01], [0.1, 0.1, -0.6], rules)
    assert_array_equal(path.position, [0.0, 0.0, 2.0])
    assert path.returns[-1] == -1.0
    assert path.drawdown == 1.0


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=30),
    st.floats(0.0, 50.0),
    st.floats(0.5, 3.0),
)
def test_costs_only_cost_and_positions_stay_within_the_cap(returns, cost, cap):
    std = np.linspace(0.02, 0.5, len(returns))
    free, paid = (run_overlay(std, returns, OverlayRules(cap=cap, cost=c)) for c in (0.0, cost))
    assert_array_equal(free.position, paid.position)
    assert (free.position <= cap).all()
    assert (paid.returns <= free.returns + 1e-15).all()
    assert 0.0 <= paid.drawdown <= 1.0


def test_holding_trades_once(study):
    held = overlay(study, ["slots-single"]).strategies[HOLD]
    assert_allclose(held.traded, [1.0] + [0.0] * (len(study.y) - 1), atol=1e-12)
    growth = np.exp(study.y.sum()) - 5e-4 * np.exp(study.y.iloc[1:].sum())
    assert_allclose(held.wealth[-1], growth, rtol=1e-9)


def test_table_follows_from_the_paths(study):
    found = overlay(study, ["slots-single", "gjr-garch", "not run"])
    assert list(found.table.index) == ["slots-single", "gjr-garch", HOLD]
    years = (study.y.index[-1] - study.y.index[0]).days / 365.25
    assert found.per_year == pytest.approx((len(study.y) - 1) / years)
    path, row = found.strategies["slots-single"], found.table.loc["slots-single"]
    std = study.forecasts["slots-single"].std() * np.sqrt(found.per_year)
    assert_allclose(path.position, np.minimum(0.1 / std, 2.0), rtol=1e-12)
    r = path.returns
    assert_allclose(row["sharpe"], np.sqrt(found.per_year) * r.mean() / r.std(), rtol=1e-12)
    assert_allclose(row["turnover"], path.traded.mean() * found.per_year, rtol=1e-12)
    assert_allclose(row["cost"], 5e-4 * row["turnover"], rtol=1e-12)
    assert row["sharpe_low"] < row["sharpe"] < row["sharpe_high"]
    assert 0.05 < row["volatility"] < 0.2  # the target is 0.10
    over = found.differences.iloc[-1]
    assert (over["strategy"], over["against"]) == ("slots-single", HOLD)
    assert_allclose(over["sharpe"], row["sharpe"] - found.table.loc[HOLD, "sharpe"], rtol=1e-12)
    again = overlay(study, ["slots-single", "gjr-garch"])
    pd.testing.assert_frame_equal(found.table, again.table)
    assert found.to_json()["rules"] == {"target": 0.1, "cap": 2.0, "cost": 5.0}


def test_a_strategy_against_itself_differs_by_nothing(study):
    twin = replace(study, forecasts=study.forecasts | {"twin": study.forecasts["gjr-garch"]})
    over = overlay(twin, ["gjr-garch", "twin"]).differences.iloc[0]
    assert over[["sharpe", "low", "high"]].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("cut", [530, 600, 650])
def test_no_position_knows_what_comes_after_its_close(study, cut):
    """Prices from ``cut`` on are rewritten: positions held into rows up to ``cut`` stay."""
    series = prices()
    changed = series.copy()
    changed.iloc[cut:] = series.iloc[cut - 1] * (1 + 0.3 * np.sin(np.arange(N - cut) + 1.0))
    names = ("slots-single", "gjr-garch")
    was, now = (overlay(s, names) for s in (study, study_of(changed)))
    first = series.index.get_loc(study.y.index[0])
    rows = cut - first
    assert rows > 0
    for name in names:
        before, after = was.strategies[name], now.strategies[name]
        assert_allclose(after.position[: rows + 1], before.position[: rows + 1], rtol=1e-9)
        assert_allclose(after.returns[:rows], before.returns[:rows], rtol=1e-9, atol=1e-12)
        assert not np.allclose(after.position[rows + 1 :], before.position[rows + 1 :])


def test_there_is_no_overlay_where_nothing_is_held():
    series = prices()
    names = ("mean",)
    assert overlay(study_of(series, names), ["pool"]) is None
    assert overlay(study_of(series, names, transform="diff"), names) is None
    assert overlay(study_of(series.reset_index(drop=True), names), names) is None


@pytest.mark.parametrize("wrong", [{"target": 0.0}, {"cap": -1.0}, {"cost": np.nan}])
def test_rules_must_make_sense(wrong):
    with pytest.raises(InvalidInputError, match="an overlay needs"):
        OverlayRules(**wrong)
    with pytest.raises(InvalidInputError, match="one forecast for each return"):
        run_overlay([0.1], [0.1, 0.2])
