import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.reporting import summarize
from regimeslot.reporting.provenance import banners
from regimeslot.reporting.regimes import _transition_note, lasted
from regimeslot.reporting.thin import decode
from regimeslot.reporting.view import view_of


@pytest.fixture(scope="module")
def summary(run):
    return summarize(run)


def test_summary_is_plain_data(summary):
    text = json.dumps(summary.to_dict(), allow_nan=False)
    assert json.loads(text)["title"] == "SIM"


def test_tomorrow_gives_the_figures_of_the_main_forecast(run, summary):
    forecast = run.next_forecasts[run.main]
    numbers = summary.tomorrow["numbers"]
    assert numbers["std"] == pytest.approx(forecast.std()[0], rel=1e-12)
    assert numbers["var_1"] == pytest.approx(forecast.value_at_risk(0.01)[0], rel=1e-12)
    assert numbers["es_5"] == pytest.approx(forecast.expected_shortfall(0.05)[0], rel=1e-12)
    assert numbers["loss"] == pytest.approx(forecast.probability_of_loss()[0], rel=1e-12)
    low, high = 100 * forecast.interval(0.9)[0]
    assert summary.tomorrow["band"] == f"{low:+.2f} to {high:+.2f} %"
    figures = {f["name"]: f["text"] for f in summary.tomorrow["figures"]}
    year = 100 * forecast.std()[0] * math.sqrt(252)
    assert figures["The same a year"] == f"{year:.0f} %"
    assert summary.tomorrow["label"] == "Next session, Thu 25 Jan 2018"


def test_regime_answer_agrees_with_the_run(run, summary):
    outlook = run.regime_outlook(21).to_numpy()
    now = int(outlook[0].argmax())
    answer = summary.regime
    assert answer["number"] == now
    assert answer["headline"].lower() == str(run.regime_probabilities().columns[now]).lower()
    table = answer["outlook"]["table"]
    assert len(table.rows) == 21
    assert table.rows[20][1].text == f"{100 * outlook[20, 0]:.1f} %"
    assert f"about {round(run.expected_time_left())} more" in answer["left"]


def test_lasted_counts_back_from_the_last_row():
    path = np.array([1, 0, 0, 2, 2, 2])
    assert [lasted(path, k) for k in (0, 1, 2)] == [0, 0, 3]
    assert lasted(np.zeros(5, int), 0) == 5


def test_charts_hold_the_run_s_numbers(run, summary):
    y = run.study.y.to_numpy()
    forecast = run.study.forecasts[run.main]
    charts = summary.charts
    days = pd.to_datetime(decode(summary.time), unit="s")
    assert list(days) == list(run.study.y.index)
    price = run.prices.frame["Close"].reindex(run.study.y.index).to_numpy()
    np.testing.assert_allclose(decode(charts["price"]["columns"]["price"]), price, rtol=2e-3)
    volatility = charts["volatility"]["columns"]
    np.testing.assert_allclose(decode(volatility["y"]), 100 * y, rtol=0, atol=0.00501)
    np.testing.assert_allclose(
        decode(volatility["std"]), 100 * forecast.std(), rtol=0, atol=0.00501
    )
    hits = charts["exceedances"]["columns"]["hits_5"]
    beyond = np.flatnonzero(y < -forecast.value_at_risk(0.05))
    np.testing.assert_array_equal(hits, beyond)
    scores = run.study.log_scores()
    gain = (scores[run.main] - scores["linear"]).cumsum().to_numpy()
    line = charts["gain"]["lines"][0]
    assert line["name"] == "over linear"
    np.testing.assert_allclose(decode(line["gain"]), gain, rtol=0, atol=0.51 * line["gain"]["s"])
    shares = [decode(p) / 100 for p in charts["price"]["columns"]["probabilities"]]
    predicted = run.regime_probabilities().to_numpy()[:, :-1]
    np.testing.assert_allclose(np.transpose(shares), predicted, rtol=0, atol=0.00501)


def as_series(run, transform):
    """The same run, as one of values or changes: neither has losses."""
    dataset = replace(run.study.dataset, transform=transform)
    return replace(run, dataset=dataset, study=replace(run.study, dataset=dataset))


@pytest.mark.parametrize("transform", ["level", "diff"])
def test_values_have_quantiles_and_no_losses(run, transform):
    series = as_series(run, transform)
    summary = summarize(series)
    figures = {f["name"]: f["text"] for f in summary.tomorrow["figures"]}
    unit = view_of(series).unit
    q = run.next_forecasts[run.main].quantile([0.01, 0.05, 0.95, 0.99])[0]
    ends = [unit.number(value, plus=transform == "diff") for value in q]
    assert figures["Quantiles 5 % / 95 %"] == f"{ends[1]} / {ends[2]} units"
    assert figures["Quantiles 1 % / 99 %"] == f"{ends[0]} / {ends[3]} units"
    chart = summary.charts["exceedances"]
    noun = "Changes" if transform == "diff" else "Values"
    assert chart["title"].startswith(f"{noun} went below the 1 % quantile on ")
    assert chart["heading"] == f"{noun} below the low quantiles"
    names = [row[0].text for row in chart["coverage"].rows]
    assert names == ["lower 1 %", "lower 5 %", "upper 5 %", "upper 1 %"]
    upper = float(np.mean(view_of(series).uniforms > 0.95))
    assert chart["coverage"].rows[2][2].text == f"{100 * upper:.2f}"
    parts = summary.to_dict()
    for part in ("settings", "slots", "transition"):  # features' names, and how to get prices
        parts.pop(part)
    said = json.dumps(parts, default=vars).lower()
    assert "overlay needs the returns" in said
    for word in ("loss", "value at risk", '"var ', "shortfall", "% var"):
        assert word not in said, word
    assert "loss" in json.dumps(summarize(run).tomorrow, default=vars).lower()


@pytest.mark.parametrize("transform", ["level", "diff"])
def test_values_at_zero_are_drawn_on_a_linear_axis(run, transform):
    frame = run.prices.frame - run.prices.frame["Close"].iloc[-10]
    series = replace(run, prices=replace(run.prices, frame=frame))
    chart = summarize(as_series(series, transform)).charts["price"]
    close = frame["Close"].reindex(run.study.y.index).to_numpy()
    assert (close == 0).any()
    assert not chart["log"]
    assert chart["y_label"] == "SIM values"
    assert chart["heading"] == "Values and regimes"
    np.testing.assert_allclose(
        decode(chart["columns"]["price"]), close, rtol=0, atol=np.ptp(close) / 2000
    )


def test_every_chart_has_a_finding_units_a_text_and_its_numbers(summary):
    for name, chart in summary.charts.items():
        assert chart["title"], name
        assert chart["alt"].endswith("."), name
        assert chart["y_label"], name
        assert len(chart["table"].rows) >= 1, name
        for table_row in chart["table"].rows:
            assert len(table_row) == len(chart["table"].columns), name


def test_runs_of_regimes_cover_every_row(run, summary):
    likeliest = run.regime_probabilities().to_numpy().argmax(axis=1)
    runs = summary.charts["price"]["columns"]["regime"]
    back = np.empty(len(likeliest), int)
    for start, k in runs:
        back[start:] = k
    np.testing.assert_array_equal(back, likeliest)


def test_a_bare_study_shows_what_it_can_and_says_what_is_missing(run):
    summary = summarize(run.study)
    assert "run" in summary.tomorrow["missing"]
    assert "run" in summary.transition["missing"]
    assert summary.regime["probability"].endswith("24 Jan 2018")
    assert summary.regime["outlook"] is None
    assert summary.trust["numbers"]["gain"] == pytest.approx(
        summarize(run).trust["numbers"]["gain"], rel=1e-12
    )
    assert "price" not in summary.charts["price"]["columns"]


def test_nothing_but_one_baseline_still_makes_a_summary(study_of, normal):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    summary = summarize(study_of(y, {"mean": normal(60)}))
    for part in (summary.trust, summary.regime, summary.regime_value, summary.charts["gain"]):
        assert "--models" in part["missing"]
    assert summary.attribution is None
    json.dumps(summary.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("index", "transform", "horizon", "words"),
    [
        (pd.date_range("2000-01-31", periods=70, freq="ME"), "diff", 1, "nats a month"),
        (pd.RangeIndex(70), "level", 1, "nats a row"),
        (pd.bdate_range("2020-01-01", periods=70), "log-return", 5, "nats a day"),
    ],
)
def test_other_frequencies_units_and_horizons(study_of, normal, index, transform, horizon, words):
    y = np.random.default_rng(0).standard_normal(60)
    study = study_of(
        y,
        {"linear": normal(60, 2.0), "slots-sticky": normal(60, 1.0)},
        index=index,
        transform=transform,
        horizon=horizon,
    )
    summary = summarize(study)
    assert summary.trust["gain"].endswith(words)
    assert ("%" in summary.charts["volatility"]["y_label"]) == (transform == "log-return")
    json.dumps(summary.to_dict(), allow_nan=False)


def test_forecasts_without_a_variance_do_not_stop_the_report(study_of, normal):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    fat = MixtureForecast(np.ones((60, 1)), 0.0, 0.01, 1.5)
    summary = summarize(study_of(y, {"linear": normal(60), "slots-static": fat}))
    json.dumps(summary.to_dict(), allow_nan=False)


def test_banners_for_snapshot_proxy_and_stale_cache(run):
    def said(**changes):
        return " ".join(banners(view_of(replace(run, prices=replace(run.prices, **changes)))))

    assert said() == ""
    assert said(source="cache") == ""
    assert "snapshot" in said(source="bundled")
    assert "SIM stands in for SPY." in said(proxy_for="SPY")
    proxy = replace(run, prices=replace(run.prices, ticker="SPY", proxy_for="SPY"))
    assert summarize(proxy).charts["price"]["y_label"] == "SIM price, log scale"
    note = "Yahoo did not answer. The cached SIM of 2018-01-20 21:00 UTC is used."
    assert "stale cache" in said(source="cache", notes=(note,))


def test_regimes_whose_names_promise_too_much_are_called_out(run):
    probabilities = run.regime_probabilities()
    n = len(probabilities)
    flat = pd.DataFrame(np.tile([0.6, 0.4], (n, 1)), probabilities.index, ["calm, 1", "wild, 2"])
    fields = {f: getattr(run, f) for f in run.__dataclass_fields__}
    blurred = SimpleNamespace(
        **fields,
        regime_probabilities=lambda: flat,
        regime_table=lambda: pd.DataFrame(),
        regime_outlook=lambda steps: flat.iloc[:steps],
        expected_time_left=lambda: math.nan,
        transition_matrix=lambda: pd.DataFrame(),
        overlay=None,
        stability=None,
    )
    answer = summarize(blurred).regime
    assert "hardly differ" in answer["caution"]
    assert answer["left"] is None


def test_the_overlay_is_told_with_its_rules_and_is_no_advice(run):
    part = summarize(run).overlay
    found = run.overlay
    assert [row[0].text for row in part["table"].rows] == ["pool overlay", "buy and hold"]
    first = found.table.iloc[0]
    assert part["table"].rows[0][3].text == f"{first['sharpe']:.2f}"
    interval = f"{first['sharpe_low']:.2f} to {first['sharpe_high']:.2f}"
    assert part["table"].rows[0][4].text == interval
    assert part["title"].startswith(f"Sharpe ratio {first['sharpe']:.2f}, ")
    assert "buy and hold" in part["title"]
    notes = " ".join(part["notes"])
    assert "target of 10 % a year" in notes
    assert "5 basis points" in notes
    assert "not advice" in notes
    short = run.study.between(run.study.y.index[-40])
    assert "50 forecast rows" in summarize(short).overlay["missing"]


def test_a_difference_of_sharpe_ratios_is_one_only_outside_its_interval(run):
    found = run.overlay
    for low, high, said in (
        (-0.1, 0.5, "no difference found to buy and hold"),
        (0.1, 0.5, "above buy and hold"),
        (-0.5, -0.1, "below buy and hold"),
    ):
        over = found.differences.assign(low=low, high=high, sharpe=0.5 * (low + high))
        turned = replace(run)
        turned.__dict__["overlay"] = replace(found, differences=over)
        assert said in summarize(turned).overlay["title"]


def test_stability_across_refits_has_a_sentence_and_a_table(run):
    part = summarize(run).stability
    record = run.stability.to_json()
    assert f"(adjusted Rand index {record['rand_mean']:.2f} over 1 refit, " in part["title"]
    assert part["table"].rows[0][1].text == f"{record['rand_mean']:.2f}"
    assert f"{len(run.study.y)} forecast rows" in part["note"]
    poor = replace(run)
    table = run.stability.table.assign(rand=0.3, renamed=True)
    poor.__dict__["stability"] = replace(run.stability, table=table)
    said = summarize(poor).stability["title"]
    assert said.startswith("Refits do not agree on the regimes")
    assert "1 changed names" in said
    one = run.study.between(run.study.y.index[-20])
    assert summarize(one).stability is None


def test_each_regime_has_its_spells_and_extremes(run):
    table, held = summarize(run).slots["table"], run.regime_table()
    column = {name: k for k, name in enumerate(table.columns)}
    unit = view_of(run).unit
    for row, (_, numbers) in zip(table.rows, held.iterrows(), strict=True):
        assert row[column["Spells"]].text == str(numbers["spells"])
        assert row[column["Lowest, %"]].text == unit.number(numbers["worst"], plus=True)
        assert row[column["Expected spell, sessions"]].text == f"{numbers['expected_duration']:.1f}"


def test_a_long_symbol_leaves_the_axis_to_what_it_shows(poisoned, xss):
    chart = summarize(poisoned).charts["price"]
    assert chart["y_label"] == "price, log scale"
    assert chart["alt"].startswith(f"{xss} price")


def test_transitions_of_a_gate_are_those_of_the_next_row(run):
    assert "a gate changes them from session to session" in summarize(run).transition["note"]
    plain = view_of(replace(run, regime_model="markov-t"))
    assert _transition_note(plain).startswith("Constant from one fit to the next")


def test_moves_of_a_week_are_not_called_those_of_a_day(study_of, normal):
    y = 0.02 * np.random.default_rng(1).standard_normal(80)
    n = len(y)
    two = MixtureForecast(np.tile([0.6, 0.4], (n, 1)), 0.0, np.tile([0.01, 0.03], (n, 1)), np.inf)
    names = {"slots-markov": two, "linear": normal(n)}
    view = view_of(study_of(y, names, horizon=5))
    assert view.regimes.columns[0] == "calm, 1.0 % over 5 sessions"
    summary = summarize(view.study)
    assert "Mean, % over 5 sessions" in summary.slots["table"].columns
    assert " a day" not in summary.slots["title"]
    assert view_of(study_of(y, names)).span == "a day"


def test_constant_weights_are_called_no_regimes(run):
    alone = replace(run, regime_model="slots-static", models=run.models)
    assert "Constant weights" in summarize(alone).regime["caution"]


def test_rounded_outcomes_are_drawn_and_said(run):
    rounded = replace(run, study=replace(run.study, rounded_to=0.01))
    summary = summarize(rounded)
    assert "rounded to 0.01" in summary.pit["note"]
    assert any("rounds to the published" in note for note in summary.scores["notes"])
    view = view_of(rounded)
    plain = run.study.forecasts[run.main]
    low, high = (plain.cdf(run.study.y.to_numpy() + half) for half in (-0.005, 0.005))
    assert ((low <= view.uniforms) & (view.uniforms <= high)).all()


def test_levels_are_held_against_their_last_value(run):
    notes = " ".join(summarize(as_series(run, "level")).scores["notes"])
    assert "the last value known at the time (a random walk)" in notes
    assert "the mean known at the time" in " ".join(summarize(run).scores["notes"])


def test_a_series_that_rarely_moves_keeps_its_digits(study_of, normal):
    y = np.zeros(60)
    y[[10, 40]] = 1.0, -1.0
    view = view_of(study_of(y, {"mean": normal(60, 0.003)}, transform="diff"))
    assert view.unit.text(0.003) == "0.0030 units"


def test_only_a_run_or_a_study_is_taken():
    with pytest.raises(InvalidInputError, match="Run of fit_run or a Study"):
        summarize({"a": 1})


def test_view_prefers_gjr_garch_as_the_reference(study_of, normal):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    forecasts = {n: normal(60) for n in ("mean", "linear", "gjr-garch", "slots-sticky")}
    view = view_of(study_of(y, forecasts))
    assert (view.main, view.reference) == ("slots-sticky", "gjr-garch")
    assert view.baselines == ["gjr-garch", "linear", "mean"]
