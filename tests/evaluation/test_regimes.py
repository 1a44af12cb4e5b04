"""Each regime in numbers, counted by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from regimeslot.evaluation.regimes import RegimeView
from regimeslot.evaluation.run import RunSettings, fit_run
from regimeslot.prices import Prices

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")


@pytest.fixture(scope="module")
def run():
    std = np.where(np.arange(700) % 200 < 120, 0.005, 0.02)
    steps = std * np.random.default_rng(2).standard_normal(700)
    dates = pd.bdate_range("2018-01-02", periods=700, name="Date")
    frame = pd.DataFrame({"Close": 50 * np.exp(np.cumsum(steps))}, index=dates)
    prices = Prices(
        frame=frame, ticker="SIM", symbol="SIM", source="file", as_of=pd.Timestamp("2021-02-01")
    )
    names = ("mean", "gjr-garch", "markov", "slots-single", "slots-static", "slots-markov")
    return fit_run(prices, RunSettings(models=names, train_size=400, refit_every=100))


def test_rows_spells_and_extremes_are_those_of_the_likeliest_regime(run):
    view = run.regimes
    table = view.table()
    likely = view.forecast.weights.argmax(axis=1)
    y = run.study.y.to_numpy()
    for k in range(2):
        spells, rows, previous = 0, 0, None
        for label in likely:
            rows += label == k
            spells += label == k and previous != k
            previous = label
        row = table.iloc[k]
        assert (row["rows"], row["spells"]) == (rows, spells)
        assert row["mean_duration"] == pytest.approx(rows / spells)
        assert row["worst"] == y[likely == k].min()
        assert row["best"] == y[likely == k].max()
        stay = run.transition_matrix().to_numpy()[k, k]
        assert row["expected_duration"] == pytest.approx(1 / (1 - stay), rel=1e-9)
    weights = view.forecast.weights
    np.testing.assert_allclose(table["occupancy"], weights.mean(axis=0), rtol=1e-12)
    down = (weights * (y < 0)[:, None]).sum(axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(table["below_zero"], down, rtol=1e-12)


def test_a_regime_that_never_leads_has_no_spells(run):
    view = run.regimes
    weights = np.tile([0.9, 0.1], (len(view.y), 1))
    f = view.forecast
    quiet = type(f)(weights, f.locations, f.scales, f.dof, f.skew, f.index)
    row = RegimeView(view.dataset, quiet, view.model, view.y).table().iloc[1]
    assert (row["rows"], row["spells"]) == (0, 0)
    assert np.isnan([row["mean_duration"], row["worst"], row["best"]]).all()


def test_the_record_holds_regimes_stability_value_and_overlay(run):
    record = json.loads(json.dumps(run.to_json(), allow_nan=False))
    regimes = record["regimes"]
    assert regimes["model"] == "markov"
    assert [r["name"] for r in regimes["regimes"]] == run.regimes.names
    np.testing.assert_allclose(regimes["transition"], run.transition_matrix(), rtol=1e-12)
    assert regimes["stability"]["refits"] == 2
    assert regimes["stability"]["words"] in {"excellent", "good", "moderate", "poor"}
    value = record["regime_value"]
    assert value["verdict"]
    assert {row["model"] for row in value["comparisons"]} == {"slots-markov"}
    assert list(record["overlay"]["strategies"]) == ["slots-markov", "gjr-garch", "buy and hold"]


def test_a_series_of_changes_has_no_overlay(run):
    settings = RunSettings(models=("mean",), transform="diff", train_size=400)
    record = fit_run(run.prices, settings).to_json()
    assert record["overlay"] is None
    assert record["regimes"] is None
    assert record["regime_value"]["comparisons"] == []
