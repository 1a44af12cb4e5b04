import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.run import DEFAULT_MODELS, Run, RunSettings, fit_run, next_forecast
from regimeslot.features import make_dataset
from regimeslot.models import SlotLSTMForecaster, catalogue, make_forecaster
from regimeslot.models.catalogue import CATALOGUE, Setting
from regimeslot.prices import Prices

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")

MODELS = ("mean", "markov-t", "gjr-garch", "slots-single", "slots-markov", "slots-sticky", "pool")


def prices(n_rows=800, seed=2):
    rng = np.random.default_rng(seed)
    wild = np.repeat(rng.random(n_rows // 20 + 1) < 0.3, 20)[:n_rows]
    steps = np.where(wild, 0.02, 0.006) * rng.standard_normal(n_rows)
    dates = pd.bdate_range("2018-01-02", periods=n_rows, name="Date")
    frame = pd.DataFrame({"Close": 50 * np.exp(np.cumsum(steps))}, index=dates)
    return Prices(
        frame=frame,
        ticker="TEST",
        symbol="TEST",
        source="file",
        as_of=pd.Timestamp("2021-02-01"),
        notes=("a note",),
        proxy_for=None,
    )


@pytest.fixture(scope="module")
def run():
    return fit_run(prices(), RunSettings(models=MODELS), command="regimeslot fit --file x.csv")


@pytest.mark.parametrize("used", [True, False])
def test_memory_that_is_not_used_is_said(used, monkeypatch):
    def build(setting):
        return SlotLSTMForecaster(hidden_size=2, window=4, n_seeds=2, epochs=1, random_state=0)

    def in_use(self):
        return self.networks_[:used]

    entry = replace(CATALOGUE["slot-lstm"], build=build)
    monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, "slot-lstm": entry})
    monkeypatch.setattr(SlotLSTMForecaster, "networks_in_use", property(in_use))
    run = fit_run(prices(), RunSettings(models=("slot-lstm", "mean"), train_size=500))
    said = [note for note in run.dataset.notes if note.startswith("slot-lstm: ")]
    assert [note.endswith("those of its experts alone.") for note in said] == [True] * (not used)


def test_the_json_holds_what_is_promised(run):
    data = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert {"ticker", "symbol", "source", "first", "last", "rows", "proxy_for"} <= set(data["data"])
    assert set(data["models"]) == set(MODELS)
    for scores in data["models"].values():
        assert {
            "log_score", "crps", "r2_oos", "qlike", "var_1_hit", "var_5_hit", "seconds",
        } <= set(scores)  # fmt: skip
    assert {"model", "against", "log_score_gain", "t", "p"} == set(data["comparisons"][0])
    forecast = data["forecast"]
    assert {"date", "mean", "std", "quantiles", "regimes"} <= set(forecast)
    assert list(forecast["quantiles"]) == ["0.01", "0.05", "0.5", "0.95", "0.99"]
    assert list(forecast["quantiles"].values()) == sorted(forecast["quantiles"].values())
    assert sum(r["probability"] for r in forecast["regimes"]) == pytest.approx(1.0)
    assert data["settings"]["train_size"] == run.settings.train_size
    assert data["versions"]["regimeslot"]
    assert data["data"]["notes"] == ["a note"]


def test_the_next_session_is_the_one_after_the_last_price(run):
    assert run.next_date == run.prices.frame.index[-1] + pd.offsets.BDay()
    assert run.forecast.index[0] == run.next_date


def test_final_fits_forecast_like_a_fit_on_all_rows(run):
    cold = make_forecaster("slots-single").fit(run.dataset.X, run.dataset.y)
    expected = cold.predict(run.dataset.next_X)
    np.testing.assert_allclose(run.next_forecasts["slots-single"].std(), expected.std(), rtol=5e-3)
    members = [
        run.next_forecasts[n].pdf(0.0) for n in ("slots-single", "slots-markov", "slots-sticky")
    ]
    np.testing.assert_allclose(run.forecast.pdf(0.0), np.mean(members, axis=0), rtol=1e-12)


@pytest.mark.parametrize("name", tuple(CATALOGUE))
def test_the_next_week_follows_from_the_state_after_the_last_whole_one(name):
    """Horizon 5: what tomorrow's forecast says must equal the forecast made once it is history."""
    series = prices()
    longer = make_dataset(series, horizon=5)
    cut = len(series.frame) - 30
    short = make_dataset(series.frame.iloc[:cut], horizon=5)
    model = make_forecaster(name, Setting(horizon=5))
    if name in ("slot-lstm", "lstm"):  # what must hold, holds for small networks
        model.set_params(window=16, hidden_size=4, n_seeds=2, epochs=2)
    model.fit(short.X, short.y)
    tomorrow = next_forecast(model, short)
    rows = slice(len(short), len(short) + 5)
    assert longer.X.index[rows][-1] == series.frame.index[cut]
    later = model.predict(longer.X[rows], longer.y[rows])[slice(4, 5)]
    np.testing.assert_allclose(tomorrow.weights, later.weights, rtol=1e-9)
    np.testing.assert_allclose(tomorrow.std(), later.std(), rtol=1e-9)
    np.testing.assert_allclose(tomorrow.mean(), later.mean(), rtol=1e-9, atol=1e-14)


def test_networks_are_run_by_name_only():
    assert {"lstm", "slot-lstm"} <= set(CATALOGUE) - set(DEFAULT_MODELS)


def test_regimes_are_read_from_the_feature_free_model(run):
    assert run.regime_model == "markov-t"
    probabilities = run.regime_probabilities()
    assert len(probabilities) == len(run.study.y)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-9)
    assert [name.split(",")[0] for name in probabilities] == ["calm", "middle", "wild"]
    table = run.regime_table()
    assert table["std"].is_monotonic_increasing
    assert table["occupancy"].sum() == pytest.approx(1.0)
    outlook = run.regime_outlook(5)
    assert outlook.shape == (5, 3)
    matrix = run.transition_matrix().to_numpy()
    np.testing.assert_allclose(outlook.to_numpy()[1], outlook.to_numpy()[0] @ matrix, rtol=1e-9)
    likely = outlook.to_numpy()[0].argmax()
    assert run.expected_time_left() == pytest.approx(1 / (1 - matrix[likely, likely]))


def test_a_slot_model_shows_its_regimes_where_it_is_alone():
    run = fit_run(prices(), RunSettings(models=("slots-sticky",)))
    assert isinstance(run, Run)
    assert run.regime_model == run.main == "slots-sticky"
    table = run.regime_table()
    assert len(table) == 2
    assert table["features"].str.contains("vol_|last_|trend_|downside_|drawdown_|tail_").all()


def test_a_run_without_regimes_says_so():
    run = fit_run(prices(), RunSettings(models=("mean",)))
    assert run.regime_model is None
    assert run.regime_table().empty
    assert math.isnan(run.expected_time_left())
    assert run.to_json()["forecast"]["regimes"] == []


def test_short_series_and_wrong_names_are_refused_before_any_work():
    short = prices(300)
    with pytest.raises(TooFewRowsError, match="are too few"):
        fit_run(short, RunSettings(models=("mean",)))
    with pytest.raises(InvalidInputError, match="did you mean"):
        fit_run(prices(), RunSettings(models=("mean", "gjr-garsh")))


def test_monthly_series_that_are_not_prices():
    rng = np.random.default_rng(0)
    rate = 5 + np.cumsum(0.2 * rng.standard_normal(500))
    dates = pd.date_range("1980-01-01", periods=500, freq="MS", name="Date")
    base = prices()
    series = Prices(
        frame=pd.DataFrame({"Close": rate}, index=dates),
        ticker="RATE",
        symbol="RATE",
        source="file",
        as_of=base.as_of,
        notes=(),
        proxy_for=None,
    )
    names = ("mean", "linear", "markov", "gjr-garch", "slots-sticky")
    run = fit_run(series, RunSettings(models=names, transform="diff"))
    assert run.settings.refit_every == 12
    assert run.next_date == pd.Timestamp("2021-09-01")
    assert set(run.study.forecasts) == set(names)
    assert "%" not in run.regime_table().index[0]
    assert run.regime_table().index[0].endswith(" a month")


def test_regimes_of_a_week_count_sessions():
    run = fit_run(prices(), RunSettings(models=("markov",), horizon=5))
    assert run.regime_table().index[0].endswith(" in 5 days")
    matrix = run.transition_matrix().to_numpy()
    likely = run.regime_outlook(1).to_numpy()[0].argmax()
    assert run.expected_time_left() == pytest.approx(5 / (1 - matrix[likely, likely]))
    np.testing.assert_allclose(
        run.regime_outlook(3).to_numpy()[0], run.next_forecasts["markov"].weights[0], rtol=1e-10
    )


def test_a_training_size_that_cannot_be_is_answered_with_its_range():
    with pytest.raises(InvalidInputError, match="between 352 and 798"):
        fit_run(prices(), RunSettings(models=("mean",), train_size=5000))
    assert fit_run(prices(400), RunSettings(models=("mean",))).settings.train_size == 352


def test_rounded_series_are_noted_and_scored_by_intervals():
    rng = np.random.default_rng(0)
    months = pd.date_range("1980-01-31", periods=300, freq="ME", name="Date")
    rate = np.round(5 + np.cumsum(rng.choice([-0.2, -0.1, 0.0, 0.0, 0.1, 0.2], 300)), 1)
    frame = pd.DataFrame({"Close": rate}, index=months)
    series = replace(prices(), frame=frame, ticker="RATE", symbol="RATE", notes=())
    settings = RunSettings(models=("mean", "linear"), transform="diff", train_size=200)
    plain = fit_run(series, settings)
    assert any("rounded_to=0.1 " in note for note in plain.dataset.notes)
    scored = fit_run(series, replace(settings, rounded_to=0.1))
    assert not any("rounded_to" in note for note in scored.dataset.notes)
    assert (scored.study.log_scores() < 0).all().all()
    assert scored.to_json()["settings"]["rounded_to"] == 0.1
    with pytest.raises(InvalidInputError, match="returns of a rounded price"):
        fit_run(series, RunSettings(rounded_to=0.1))
