from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from regimeslot import load
from regimeslot.errors import RegimeslotError
from regimeslot.evaluation.run import RunSettings
from regimeslot.forecast import MixtureForecast
from regimeslot.models.catalogue import CATALOGUE

from .conftest import FAST, Command, closes

SERIES = 700


def record_of(folder: Path) -> dict:
    return json.loads((folder / "fit.json").read_text())


def test_json_is_the_file_alone(finished: tuple[Path, Result]) -> None:
    folder, result = finished
    assert result.stdout == (folder / "fit.json").read_text()
    record = json.loads(result.stdout)
    assert record["data"]["source"] == "file"
    assert (record["data"]["first"], record["data"]["rows"]) == ("2015-01-05", SERIES)
    assert {"ticker", "symbol", "last", "proxy_for"} <= set(record["data"])
    assert list(record["models"]) == FAST[1].split(",")
    for scores in record["models"].values():
        assert {"log_score", "crps", "r2_oos", "qlike", "var_1_hit", "var_5_hit", "seconds"} <= set(
            scores
        )
    assert {"model", "against", "log_score_gain", "t", "p"} == set(record["comparisons"][0])
    forecast = record["forecast"]
    assert forecast["date"] == "2017-09-11"  # the Monday after 700 weekdays
    assert sum(r["probability"] for r in forecast["regimes"]) == pytest.approx(1.0, abs=1e-12)
    quantiles = [forecast["quantiles"][p] for p in ("0.01", "0.05", "0.5", "0.95", "0.99")]
    assert quantiles == sorted(quantiles)
    assert {"settings", "versions", "notes", "created"} <= set(record)


def test_folder_holds_everything(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    models = {f"models/{name}.safetensors" for name in FAST[1].split(",")}
    assert held == {"report.html", "fit.json", "forecasts.parquet", "prices.parquet"} | models
    assert "<html" in (folder / "report.html").read_text()[:200]
    prices = pd.read_parquet(folder / "prices.parquet")["Close"]
    np.testing.assert_allclose(prices, closes(), rtol=0, atol=0)


def test_forecasts_table_repeats_the_scores(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    record, table = record_of(folder), pd.read_parquet(folder / "forecasts.parquet")
    for name, rows in table.groupby("model"):
        columns = rows.drop(columns=["model", "date", "y"]).dropna(axis=1, how="all")
        forecast = MixtureForecast.from_frame(columns.reset_index(drop=True))
        score = float(forecast.logpdf(rows["y"].to_numpy()).mean())
        assert score == pytest.approx(record["models"][name]["log_score"], rel=1e-12)
    returns = np.log(closes()).diff()
    mean = table[table["model"] == "mean"]
    np.testing.assert_allclose(mean["y"], returns[mean["date"]], rtol=1e-12, atol=1e-15)


def test_models_can_be_loaded(finished: tuple[Path, Result]) -> None:
    folder, _ = finished
    for file in (folder / "models").iterdir():
        assert load(file).is_fitted


def test_command_in_the_record_repeats_the_run(
    finished: tuple[Path, Result], command: Command
) -> None:
    folder, _ = finished
    words = shlex.split(record_of(folder)["settings"]["command"])
    assert words[:2] == ["regimeslot", "fit"]
    assert not {"--json", "--out"} & set(words)
    again = json.loads(command(*words[1:], "--json").stdout)
    assert again["forecast"] == record_of(folder)["forecast"]


def test_screen_fits_a_terminal(prices_csv: Path, home: Path, command: Command) -> None:
    result = command("fit", "--file", prices_csv, *FAST)
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    table = next(i for i, line in enumerate(lines) if line.startswith("model "))
    assert table <= 28
    for model in FAST[1].split(","):
        assert any(line.startswith(model) for line in lines[table:]), model
    for word in ("Tomorrow", "Regime", "Trust", "11 Sep 2017"):
        assert any(word in line for line in lines[:table]), word
    (folder,) = (home / "runs").iterdir()
    assert re.fullmatch(r"prices-2017-09-08-\d{8}T\d{6}Z", folder.name)
    assert lines[-1] == f"Run folder: runs/{folder.name}"


def test_quiet_says_nothing_of_a_clean_series(prices_csv: Path, command: Command) -> None:
    result = command("fit", "--file", prices_csv, "--models", "mean", "--quiet", "--json")
    assert (result.exit_code, result.stderr) == (0, "")


def test_models_by_comma_and_repeated(prices_csv: Path, command: Command) -> None:
    result = command(
        *("fit", "--file", prices_csv, "--json"),
        *("--models", "mean, linear", "--models", "mean,gjr-garch"),
    )
    assert list(json.loads(result.stdout)["models"]) == ["mean", "linear", "gjr-garch"]


def test_networks_wait_to_be_asked_for(
    prices_csv: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stop(prices: object, settings: RunSettings, **rest: object) -> None:
        asked.append(settings.models)
        raise RegimeslotError("enough")

    monkeypatch.setattr("regimeslot.evaluation.run.fit_run", stop)
    for words in ((), ("--models", "all"), ("--models", "slot-lstm,all"), ("--models", "lstm")):
        assert command("fit", "--file", prices_csv, *words).exit_code == 1
    default, everything, reordered, one = asked
    waiting = [name for name, entry in CATALOGUE.items() if not entry.default]
    assert everything == tuple(CATALOGUE)
    assert [name for name in everything if name not in default] == waiting
    assert {"slot-lstm", "lstm"} <= set(waiting)
    assert reordered[0] == "slot-lstm"
    assert sorted(reordered) == sorted(CATALOGUE)
    assert one == ("lstm",)
    said = " ".join(command("fit", "--help").stdout.split())
    for name in waiting:
        assert name in said.split("[default: all but")[1].split("]")[0]


def test_options_reach_the_run(prices_csv: Path, command: Command) -> None:
    result = command(
        *("fit", "--file", prices_csv, "--json", "--models", "mean,slots-static"),
        *("--start", "2015-02-02", "--end", "2017-08-31", "--horizon", "5"),
        *("--train-size", "500", "--refit", "90", "--seed", "3", "--transform", "diff"),
        *("--column", "Close", "--rounded-to", "0.5"),
    )
    record = json.loads(result.stdout)
    assert "--rounded-to 0.5" in record["settings"]["command"]
    assert (record["data"]["first"], record["data"]["last"]) == ("2015-02-02", "2017-08-31")
    wanted = {"horizon": 5, "train_size": 500, "refit_every": 90, "seed": 3, "transform": "diff"}
    wanted["rounded_to"] = 0.5
    assert {name: record["settings"][name] for name in wanted} == wanted
    assert record["forecast"]["horizon"] == 5


def test_market_gives_features(prices_csv: Path, home: Path, command: Command) -> None:
    words = ("fit", "--ticker", "KO", "--source", "bundled", "--start", "2019-06-01", "--json")
    words += ("--models", "slots-single", "--out")
    alone = json.loads(command(*words, "alone").stdout)
    both = json.loads(command(*words, "both", "--market", "^GSPC").stdout)
    assert alone["market"] is None
    assert both["market"]["symbol"] == "^GSPC"
    assert both["forecast"]["std"] != alone["forecast"]["std"]
    held = pd.read_parquet(home / "both" / "market.parquet")
    assert len(held) == both["market"]["rows"]


def test_stand_in_is_said_in_every_output(home: Path, command: Command) -> None:
    words = ("fit", "--ticker", "SPY", "--source", "bundled", "--start", "2020-06-01")
    result = command(*words, "--models", "mean,slots-sticky")
    assert result.exit_code == 0
    (said,) = (line for line in result.stderr.splitlines() if line.startswith("Warning"))
    sentence = said.removeprefix("Warning: ")
    assert "^GSPC" in sentence
    assert "stands in" in sentence
    assert "^GSPC stands in for SPY" in " ".join(result.stdout.split())
    (folder,) = (home / "runs").iterdir()
    record = record_of(folder)
    assert (record["data"]["symbol"], record["data"]["proxy_for"]) == ("^GSPC", "SPY")
    assert record["notes"] == [sentence]
    assert sentence in (folder / "report.html").read_text()


def test_reverse_order_is_sorted_and_noted(home: Path, command: Command) -> None:
    closes()[::-1].to_csv("backwards.csv")
    result = command("fit", "--file", "backwards.csv", "--models", "mean", "--out", "run")
    assert result.exit_code == 0
    record = record_of(home / "run")
    (note,) = record["notes"]
    assert "sorted" in note
    assert result.stderr.count(note) == 1
    assert record["data"]["first"] == "2015-01-05"


def test_fit_warnings_are_said_once_a_model(
    prices_csv: Path, home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from regimeslot.errors import ConvergenceWarning
    from regimeslot.models import MeanForecaster

    fits = iter(range(100))
    original = MeanForecaster.fit

    def fit(self: MeanForecaster, X: object, y: object) -> MeanForecaster:
        warnings.warn(f"stopped after {next(fits)} steps", ConvergenceWarning, stacklevel=2)
        return original(self, X, y)

    monkeypatch.setattr(MeanForecaster, "fit", fit)
    words = ("--models", "mean", "--refit", "50", "--out", "run")
    result = command("fit", "--file", prices_csv, *words)
    lines = [line for line in result.stderr.splitlines() if "stopped after" in line]
    assert len(lines) == 1 or len({line.split(":")[1] for line in lines}) == len(lines)
    assert lines[0].startswith("Warning: mean: stopped after")
    notes = record_of(home / "run")["notes"]
    assert [f"Warning: {note}" for note in notes] == lines
    assert "stopped after" in (home / "run" / "report.html").read_text()
