"""Studies: tables against brute force on hand-made losses, features of others, the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from regimeslot.errors import BadFileError, InvalidInputError, RegimeslotError
from regimeslot.evaluation import study as module
from regimeslot.evaluation import study_tables as tables
from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.evaluation.panel_result import Panel
from regimeslot.evaluation.study import SeriesStudy, StudySettings, run_study
from regimeslot.evaluation.study_folder import (
    keep_prices,
    kept_prices,
    open_folder,
    write_results,
)
from regimeslot.prices import Prices

REGIMES = ("slots-single", "slots-static", "slots-sticky", "pool")


def given(models: dict[str, float], *, series: int = 4, rows: int = 500, seed: int = 0) -> Panel:
    """A panel whose models' losses differ by given means; a common shock moves all series."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2015-01-05", periods=rows)
    losses, uniforms, states = {}, {}, {}
    shock = 0.3 * rng.standard_normal(rows)
    for k in range(series):
        start = 40 * k  # later series are shorter
        columns = {}
        for score in ("log_score", "crps", "qlike"):
            for model, mean in models.items():
                own = rng.standard_normal(rows) * 0.2
                columns[score, model] = (2.0 - mean + own + shock * (model == "pool"))[start:]
        losses[f"S{k}"] = pd.DataFrame(columns, index=days[start:])
        held = rng.uniform(size=(rows - start, len(models)))
        uniforms[f"S{k}"] = pd.DataFrame(held, index=days[start:], columns=list(models))
        state = rng.integers(0, 3, rows - start)
        states[f"S{k}"] = pd.DataFrame({"markov-t": state}, index=days[start:])
    names = list(losses)
    return Panel(
        losses,
        dict.fromkeys(names, 1),
        uniforms=uniforms,
        states=states,
        seconds=dict.fromkeys(names, 1.0),
    )


def study_of(panel: Panel, **settings) -> SeriesStudy:
    data = {
        n: {"symbol": n, "source": "file", "first": "", "last": "", "rows": 9} for n in panel.losses
    }
    return SeriesStudy(panel, StudySettings(**settings), data, versions={"regimeslot": "0"})


MEANS = {"gjr-garch": 0.0, "slots-single": 0.08, "slots-static": 0.1, "slots-sticky": 0.1}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return given({**MEANS, "pool": 0.12})


def test_average_is_over_series_and_its_t_over_days(panel) -> None:
    found = panel.average("pool", "gjr-garch")
    wide = pd.concat(
        {n: t["log_score"]["gjr-garch"] - t["log_score"]["pool"] for n, t in panel.losses.items()},
        axis=1,
    )
    assert_allclose(found.gain, wide.mean().mean(), rtol=1e-12)
    by_day = wide.mean(axis=1)
    test = diebold_mariano(by_day, np.zeros(len(by_day)))
    assert_allclose([found.t, found.p], [test.t, test.p], rtol=1e-12)
    # a common shock makes series no independent witnesses: rows as such would say too much
    rows = wide.stack().dropna()
    assert rows.mean() / (rows.std() / np.sqrt(len(rows))) > 1.3 * found.t
    assert found.low < found.gain < found.high
    relative = panel.average("pool", "gjr-garch", "crps", relative=True)
    crps = [
        1 - t["crps"]["pool"].mean() / t["crps"]["gjr-garch"].mean() for t in panel.losses.values()
    ]
    assert_allclose(relative.gain, np.mean(crps), rtol=1e-9)
    assert panel.average("pool", "nobody") is None


def test_headline_counts_series(panel) -> None:
    row = tables.headline_table(panel, "pool", ["gjr-garch"]).loc["gjr-garch"]
    gains = panel.gains("gjr-garch")
    own = gains[gains["model"] == "pool"]
    assert row["series"] == 4
    assert row["won"] == (own["gain"] > 0).sum()
    assert row["significant"] == ((own["gain"] > 0) & (own["p"] < 0.05)).sum()
    assert_allclose(row["median"], own["gain"].median())
    assert row["crps_significant"] == 4
    worse = tables.headline_table(panel, "gjr-garch", ["pool"]).loc["pool"]
    assert worse["significantly_worse"] == row["significant"]
    assert_allclose(worse["gain"], -row["gain"], rtol=1e-12)


def test_years_and_regimes_by_brute_force(panel) -> None:
    years = tables.years_table(panel, "pool", ["gjr-garch"])
    gains = panel.differences("pool", "gjr-garch")
    wanted = gains[gains.index.year == 2016].mean()
    assert_allclose(years.loc[2016, "gain:gjr-garch"], wanted.mean(), rtol=1e-12)
    assert years.loc[2016, "won:gjr-garch"] == (wanted > 0).sum()
    regimes = tables.regimes_table(panel, "pool", ["gjr-garch"], "markov-t")
    inside = [
        gains[name][panel.states[name]["markov-t"].reindex(gains.index) == 2] for name in gains
    ]
    assert_allclose(regimes.loc[2, "gain:gjr-garch"], pd.concat(inside).mean(), rtol=1e-12)
    assert_allclose(regimes["share"].sum(), 1.0)
    assert (regimes["t:gjr-garch"] > 2).all()


def test_one_regime_everywhere_has_the_gain_and_t_of_the_whole() -> None:
    panel = given({"gjr-garch": 0.0, "pool": 0.05}, series=2, seed=3)
    cut = {n: t.iloc[40:] if n == "S0" else t for n, t in panel.losses.items()}
    states = {n: pd.DataFrame({"m": np.zeros(len(t), int)}, t.index) for n, t in cut.items()}
    panel = replace(panel, losses=cut, states=states)
    row = tables.regimes_table(panel, "pool", ["gjr-garch"], "m").loc[0]
    found = panel.average("pool", "gjr-garch")
    assert_allclose(row["gain:gjr-garch"], found.gain, rtol=1e-12)
    n = len(cut["S0"])
    assert_allclose(row["t:gjr-garch"], found.t / np.sqrt((n - 1) / n), rtol=1e-9)


def test_steps_add_up_and_say_which_is_regimes(panel) -> None:
    steps = tables.steps_table(panel, "pool", "gjr-garch")
    assert_allclose(steps["gain"].iloc[:-1].sum(), steps["gain"].iloc[-1], rtol=1e-9)
    (regimes,) = steps[steps["regimes"].astype(bool)].index
    assert steps.loc[regimes, "against"] == "slots-static"
    partial = replace(panel, losses={**panel.losses})
    partial.losses["S0"] = panel.losses["S0"].drop(columns=[("log_score", "slots-static")])
    assert tables.steps_table(partial, "pool", "gjr-garch").empty


def test_words_never_call_features_regimes(panel) -> None:
    study = study_of(panel)
    assert study.main == "pool"
    assert study.references == ("gjr-garch",)
    assert "No regimes found" in study.regime_words
    net = study.regime_value.loc["Second expert and switching, over one expert"]
    assert net["words"] in {
        "no regimes found",
        "pays, but constant weights pay as much: not regimes",
    }
    switching = study_of(given({**MEANS, "slots-sticky": 0.3, "pool": 0.3}))
    assert switching.regime_words.startswith("Switching pays, as part of the +0.3")
    memory = study_of(given({**MEANS, "pool": 0.1, "mixture-t": 0.0, "markov-t": 0.2}))
    assert "No regimes found" in memory.regime_words
    assert "Without features memory alone gains +0." in memory.regime_words
    assert "not known" in study_of(given({"mean": 0.0, "linear": 0.1})).regime_words


def test_series_apart_are_shown_and_not_counted(panel) -> None:
    study = study_of(panel, apart=("S0",))
    assert study.series.index[-1] == "S0"
    assert bool(study.series.loc["S0", "apart"])
    assert study.headline.loc["gjr-garch", "series"] == 3
    assert_allclose(
        study.headline.loc["gjr-garch", "gain"],
        study.series.loc[~study.series["apart"], "gain:gjr-garch"].mean(),
        rtol=1e-12,
    )
    assert study.models["series"].eq(3).all()


def test_an_infinite_loss_is_no_number_and_stops_nothing(panel) -> None:
    broken = panel.losses["S1"].copy()
    broken.loc[broken.index[5], ("log_score", "gjr-garch")] = np.inf
    broken.loc[broken.index[5], ("qlike", "gjr-garch")] = np.nan
    study = study_of(replace(panel, losses={**panel.losses, "S1": broken}))
    assert np.isnan(study.series.loc["S1", "gain:gjr-garch"])
    assert study.headline.loc["gjr-garch", "series"] == 3
    assert not study.sets.loc["S1", "gjr-garch"]
    assert study.sets.loc["S1"].any()
    record = json.dumps(study.to_json(), allow_nan=False)
    assert "S1" in record


def test_folder_tables_are_those_of_the_study(panel, tmp_path) -> None:
    study = study_of(panel)
    write_results(tmp_path, study)
    kept = pd.read_csv(tmp_path / "by-series.csv", index_col=0)
    assert_allclose(kept["gain:gjr-garch"], study.series["gain:gjr-garch"], rtol=1e-9)
    gains = pd.read_csv(tmp_path / "gains.csv")
    assert len(gains) == 3 * 4 * 4  # scores, models, series
    losses = pd.read_csv(tmp_path / "scores.csv").set_index(["series", "model"])
    wanted = panel.losses["S2"]["crps"]["pool"].mean()
    assert_allclose(losses.loc[("S2", "pool"), "crps"], wanted, rtol=1e-9)
    record = json.loads((tmp_path / "study.json").read_text())
    assert record["headline"][0]["gain"] == pytest.approx(study.headline["gain"].iloc[0])
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_is_continued_with_the_same_settings_alone(tmp_path) -> None:
    begun = {"models": ["mean"], "refit": None, "series": ["A", "B"]}
    assert not open_folder(tmp_path / "s", begun)
    assert open_folder(tmp_path / "s", begun)
    with pytest.raises(InvalidInputError, match="begun with refit unset, not 20: give the same"):
        open_folder(tmp_path / "s", {**begun, "refit": 20})
    with pytest.raises(InvalidInputError, match="begun with series A,B, not A"):
        open_folder(tmp_path / "s", {**begun, "series": ["A"]})
    (tmp_path / "s" / "settings.json").write_text("{")
    with pytest.raises(BadFileError, match="is damaged"):
        open_folder(tmp_path / "s", begun)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "fit.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="is no folder of a study"):
        open_folder(tmp_path / "other", begun)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="is no folder of a study"):
        open_folder(tmp_path / "file", begun)


def prices(name: str, seed: int, rows: int = 420) -> Prices:
    moves = 0.01 * np.random.default_rng(seed).standard_t(5, rows)
    days = pd.bdate_range("2018-01-02", periods=rows, name="Date")
    frame = pd.DataFrame({"Close": 100 * np.exp(moves.cumsum())}, index=days)
    as_of = datetime(2020, 1, 1, tzinfo=UTC)
    return Prices(frame, name, name, "file", as_of, notes=(f"{name}: odd.",), proxy_for=None)


def test_prices_are_kept_as_they_were(tmp_path) -> None:
    name = "../<b>^X"
    held = prices(name, 0)
    assert kept_prices(tmp_path, name) is None
    keep_prices(tmp_path, name, held)
    again = kept_prices(tmp_path, name)
    pd.testing.assert_frame_equal(again.frame, held.frame, check_freq=False)
    for part in ("ticker", "symbol", "source", "as_of", "notes", "proxy_for", "kind"):
        assert getattr(again, part) == getattr(held, part)
    (file,) = (tmp_path / "prices").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert kept_prices(tmp_path, name) is None


def test_every_series_sees_the_market_and_the_others_but_never_itself(monkeypatch) -> None:
    held = {name: prices(name, k) for k, name in enumerate(("IX", "A", "B", "C"))}
    made = {}

    def watch(own, **options):
        made[own.symbol] = options
        return make_dataset(own, **options)

    from regimeslot.features import make_dataset

    monkeypatch.setattr(module, "make_dataset", watch)
    settings = StudySettings(models=("mean", "linear"), cross_section=True)
    study = run_study(held, settings, market=held["IX"])
    assert made["IX"]["market"] is None
    assert made["A"]["market"] is held["IX"]
    assert len(made["A"]["others"]) == 2  # B and C; the market has features of its own
    assert len(made["IX"]["others"]) == 3
    assert study.notes == ("IX: odd.", "A: odd.", "B: odd.", "C: odd.")
    assert study.headline.loc["linear", "series"] == 4


def test_faults() -> None:
    held = {"A": prices("A", 0), "B": prices("B", 1)}
    options = StudySettings(models=("mean", "linear"))
    with pytest.raises(InvalidInputError, match="set apart are X, but the study has A, B"):
        run_study(held, replace(options, apart=("X",)))
    with pytest.raises(InvalidInputError, match="needs 3 usable series or more"):
        run_study(held, replace(options, cross_section=True))
    with pytest.raises(RegimeslotError, match="every series that ran is set apart"):
        run_study(held, replace(options, apart=("A", "B")))
    with pytest.raises(InvalidInputError, match="there is no model 'men'"):
        run_study(held, replace(options, models=("men",)))
    late = run_study({**held, "L": prices("L", 2, rows=400)}, replace(options, first="2019-07-25"))
    assert list(late.panel.losses) == ["A", "B"]
    assert "some must lie before the first forecast" in late.panel.failures["L"]
    assert late.panel.losses["A"].index[0] == pd.Timestamp("2019-07-25")


def test_rates_of_overlapping_targets_are_left_out(panel) -> None:
    overlapping = replace(panel, horizons=dict.fromkeys(panel.losses, 5))
    assert len(tables.coverage_table(panel, "pool")) == 4
    assert tables.coverage_table(overlapping, "pool").empty
    plain, wide = (tables.headline_table(p, "pool", ["gjr-garch"]) for p in (panel, overlapping))
    assert_allclose(plain["gain"], wide["gain"])
