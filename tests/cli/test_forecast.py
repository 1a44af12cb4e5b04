from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from fake_yahoo import RATE_LIMITED, FakeYahoo, make_bars

from regimeslot import load, make_dataset

from .conftest import Command, closes, failed

LONGER = 712


@pytest.fixture
def run(finished: tuple[Path, Result], home: Path) -> Path:
    """A copy of the finished run, to be changed at will."""
    shutil.copytree(finished[0], home / "run")
    return home / "run"


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fitted(run: Path) -> dict:
    return json.loads((run / "fit.json").read_text())


def test_nothing_new_gives_the_run_again(run: Path, command: Command) -> None:
    before = digest(run)
    result = command("forecast", run, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    said = json.loads(result.stdout)
    assert said["forecast"] == fitted(run)["forecast"]
    assert said["sessions_since_fit"] == 0
    assert said["fitted"]["last"] == fitted(run)["data"]["last"]
    assert digest(run) == before


def test_new_sessions_move_the_state_only(run: Path, home: Path, command: Command) -> None:
    before = digest(run)
    longer = closes(LONGER)
    longer.to_csv("longer.csv")
    result = command("forecast", run, "--file", "longer.csv", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["sessions_since_fit"] == 12
    assert said["data"]["last"] == f"{longer.index[-1]:%Y-%m-%d}"
    # The same model asked in one go: rows after the fit with their returns, then the next row.
    model = load(run / "models" / f"{fitted(run)['settings']['main']}.safetensors")
    data = make_dataset(longer, next_date=pd.Timestamp(said["forecast"]["date"]))
    X = pd.concat([data.X.iloc[-12:], data.next_X])
    expected = model.predict(X, np.append(data.y.iloc[-12:], np.nan))[slice(12, None)]
    assert said["forecast"]["std"] == pytest.approx(expected.std()[0], rel=1e-10)
    assert said["forecast"]["quantiles"]["0.01"] == pytest.approx(
        expected.quantile(0.01)[0], rel=1e-8
    )
    assert said["forecast"]["std"] != fitted(run)["forecast"]["std"]
    names = [regime["name"] for regime in said["forecast"]["regimes"]]
    assert names == [regime["name"] for regime in fitted(run)["forecast"]["regimes"]]
    assert digest(run) == before


def test_what_was_said_about_its_models_at_the_fit_is_said_again(
    run: Path, command: Command
) -> None:
    record = fitted(run)
    main = record["settings"]["main"]
    spike = "spurious spike: regime 1 explains 3 rows almost exactly"
    record["notes"] += [f"{main}: {spike}", f"linear: {spike}", "2 days without a price."]
    (run / "fit.json").write_text(json.dumps(record))
    result = command("forecast", run, "--json")
    assert json.loads(result.stdout)["notes"] == [f"From the fit, {main}: {spike}"]
    assert result.stderr == f"Note: From the fit, {main}: {spike}\n"


def test_words_say_fit_and_age(run: Path, command: Command) -> None:
    closes(LONGER).to_csv("longer.csv")
    result = command("forecast", run, "--file", "longer.csv")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    flat = " ".join(result.stdout.split())
    assert "fitted up to 8 Sep 2017, with 12 sessions since" in flat
    assert "next session, Wed 27 Sep 2017" in flat
    assert "no newer session" in command("forecast", run).stdout


def test_words_of_a_stand_in_fit_a_terminal(home: Path, command: Command) -> None:
    words = ("--source", "bundled", "--start", "2019-01-01", "--models", "slots-static")
    assert command("fit", "--ticker", "SPY", *words, "--out", "run").exit_code == 0
    result = command("forecast", "run")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "SPY (by ^GSPC)" in result.stdout
    assert "bundled" in result.stdout


def test_end_gives_the_forecast_of_an_earlier_day(run: Path, command: Command) -> None:
    closes(LONGER).to_csv("longer.csv")
    closes(705).to_csv("shorter.csv")
    words = ("--file", "longer.csv", "--end", "2017-09-15", "--json")
    cut = json.loads(command("forecast", run, *words).stdout)
    short = json.loads(command("forecast", run, "--file", "shorter.csv", "--json").stdout)
    assert cut["sessions_since_fit"] == 5
    assert cut["forecast"] == short["forecast"]


def test_restated_level_changes_nothing(run: Path, command: Command) -> None:
    closes(LONGER).to_csv("longer.csv")
    (closes(LONGER) * 0.25).to_csv("split.csv")
    plain, split = (
        command("forecast", run, "--file", name, "--json") for name in ("longer.csv", "split.csv")
    )
    assert split.stderr == ""
    expected = json.loads(plain.stdout)["forecast"]["quantiles"]
    assert json.loads(split.stdout)["forecast"]["quantiles"] == pytest.approx(expected, rel=1e-6)


def test_restated_returns_are_said(run: Path, command: Command) -> None:
    longer = closes(LONGER)
    longer.iloc[:400] *= 0.99  # a dividend that came late: one return moves by 1 %
    longer.to_csv("longer.csv")
    result = command("forecast", run, "--file", "longer.csv", "--json")
    (note,) = json.loads(result.stdout)["notes"]
    assert "restated: 1 of 699 returns" in note
    assert f"by up to 1 % ({longer.index[400]:%Y-%m-%d})" in note
    assert note in result.stderr


def test_lost_sessions_are_said(run: Path, command: Command) -> None:
    closes(LONGER).drop(closes().index[300:303]).to_csv("longer.csv")
    result = command("forecast", run, "--file", "longer.csv", "--json")
    assert any("lack 3 of the 700 bars" in note for note in json.loads(result.stdout)["notes"])


def test_another_series_is_refused(run: Path, command: Command) -> None:
    for rows in (LONGER, 700):  # also where it has nothing newer
        closes(rows, seed=1).to_csv("other.csv")
        said = failed(command("forecast", run, "--file", "other.csv"), 3)
        assert "so this is another series" in said
        assert "of 699 returns" in said


def test_another_series_of_values_is_refused(home: Path, command: Command) -> None:
    closes().to_csv("rate.csv")
    (closes(LONGER) + 30).to_csv("shifted.csv")
    closes(LONGER).to_csv("longer.csv")
    words = ("--transform", "level", "--models", "mean", "--out", "run", "--quiet")
    assert command("fit", "--file", "rate.csv", *words).exit_code == 0
    said = failed(command("forecast", "run", "--file", "shifted.csv"), 3)
    assert "699 of 699 values" in said
    result = command("forecast", "run", "--file", "longer.csv")
    assert result.exit_code == 0
    assert "1 % to 99 %" in result.stdout
    assert "hortfall" not in result.stdout
    assert "loss" not in result.stdout


def test_rounded_prices_are_the_same_series(run: Path, command: Command) -> None:
    closes(LONGER).round(2).to_csv("cents.csv")
    result = command("forecast", run, "--file", "cents.csv", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["sessions_since_fit"] == 12


@pytest.mark.parametrize("first", [699, 700, 705])
def test_prices_after_the_run_are_refused(first: int, run: Path, command: Command) -> None:
    closes(760).iloc[first:].to_csv("late.csv")
    said = failed(command("forecast", run, "--file", "late.csv"), 3)
    assert "2017-09-08" in said
    assert "share no two days" in said


@pytest.mark.parametrize("first", [650, 690, 698])
def test_late_start_is_joined_to_the_days_of_the_run(
    first: int, run: Path, command: Command
) -> None:
    closes(760).to_csv("longer.csv")
    (0.25 * closes(760)).iloc[first:].to_csv("late.csv")  # and split since
    whole, late = (
        json.loads(command("forecast", run, "--file", name, "--json").stdout)
        for name in ("longer.csv", "late.csv")
    )
    assert late["sessions_since_fit"] == whole["sessions_since_fit"] == 60
    assert late["data"]["rows"] == 760
    (note,) = late["notes"]
    assert f"the {first} rows before are those of the run" in note
    quantiles = whole["forecast"]["quantiles"]
    assert late["forecast"]["quantiles"] == pytest.approx(quantiles, rel=1e-6)


def test_end_before_the_fit_is_refused(run: Path, command: Command) -> None:
    closes(LONGER).to_csv("longer.csv")
    said = failed(command("forecast", run, "--file", "longer.csv", "--end", "2017-09-07"), 2)
    assert "2017-09-08" in said
    words = ("--file", "longer.csv", "--end", "2017-09-08", "--json")
    same = json.loads(command("forecast", run, *words).stdout)
    assert same["forecast"] == fitted(run)["forecast"]
    assert "soon" in failed(command("forecast", run, "--end", "soon"), 2)


def test_file_that_went_away(run: Path, command: Command) -> None:
    record = fitted(run)
    record["settings"]["file"] = "/nowhere/prices.csv"
    (run / "fit.json").write_text(json.dumps(record))
    said = failed(command("forecast", run), 3)
    assert "/nowhere/prices.csv" in said
    closes(LONGER).to_csv("elsewhere.csv")
    assert command("forecast", run, "--file", "elsewhere.csv").exit_code == 0


@pytest.mark.parametrize("place", ["nowhere", "empty", "file"])
def test_not_a_run_folder(place: str, home: Path, command: Command) -> None:
    (home / "empty").mkdir()
    (home / "file").write_text("")
    said = failed(command("forecast", place), 2)
    assert place in said
    assert "run folder" in said


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "emptied":
        content = bytearray()
    else:
        content[-9] ^= 0x55
    file.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "emptied", "one byte", "gone"])
def test_damaged_model(how: str, run: Path, command: Command) -> None:
    file = run / "models" / "slots-sticky.safetensors"
    file.unlink() if how == "gone" else damage(file, how)
    assert "slots-sticky.safetensors" in failed(command("forecast", run), 3)


RECORDS = {
    "cut": '{"format": 1, "data": {',
    "no object": "[1, 2]",
    "no text": "\ud800",
    "no keys": '{"format": 1, "data": {}, "forecast": {}, "settings": {}}',
    "format": '{"format": 99}',
    "nothing": "",
}


@pytest.mark.parametrize("how", RECORDS)
def test_damaged_record(how: str, run: Path, command: Command) -> None:
    (run / "fit.json").write_bytes(RECORDS[how].encode("utf-8", "surrogatepass"))
    assert "fit.json" in failed(command("forecast", run), 3)


@pytest.mark.parametrize("name", ["prices.parquet", "forecasts.parquet"])
@pytest.mark.parametrize("how", ["cut", "emptied", "gone"])
def test_damaged_table(how: str, name: str, run: Path, command: Command) -> None:
    (run / name).unlink() if how == "gone" else damage(run / name, how)
    assert name in failed(command("forecast", run), 3)


def test_prices_of_another_run(run: Path, command: Command) -> None:
    closes(650).to_frame().to_parquet(run / "prices.parquet")
    assert "prices.parquet" in failed(command("forecast", run), 3)


def test_from_yahoo_with_and_without_network(
    yahoo: FakeYahoo, home: Path, command: Command
) -> None:
    bars = make_bars("2020-01-02", "2024-03-15")
    listing = yahoo.add("ACME", bars.iloc[:-7])
    words = ("--models", "slots-static", "--source", "yahoo", "--out", "run", "--json")
    first = command("fit", "--ticker", "ACME", *words)
    assert first.exit_code == 0, first.stderr

    listing.bars = bars
    newer = json.loads(command("forecast", "run", "--json").stdout)
    assert newer["sessions_since_fit"] == 7
    assert newer["data"]["source"] == "yahoo"

    shutil.rmtree(home.parent / "cache")
    yahoo.fail("ACME", RATE_LIMITED, always=True)
    failed(command("forecast", "run", "--source", "yahoo"), 3)
    record = fitted(home / "run")
    record["settings"]["source"] = "auto"
    (home / "run" / "fit.json").write_text(json.dumps(record))
    result = command("forecast", "run", "--json")
    assert result.exit_code == 0, result.stderr
    assert "run's own prices" in result.stderr
    assert json.loads(result.stdout)["forecast"] == record["forecast"]


def test_longer_horizon_goes_on(home: Path, command: Command) -> None:
    closes().to_csv("prices.csv")
    closes(LONGER).to_csv("longer.csv")
    words = ("--models", "slots-sticky", "--horizon", "5", "--out", "run", "--json")
    record = json.loads(command("fit", "--file", "prices.csv", *words).stdout)
    again = json.loads(command("forecast", "run", "--json").stdout)
    assert again["forecast"] == record["forecast"]
    later = json.loads(command("forecast", "run", "--file", "longer.csv", "--json").stdout)
    model = load(home / "run" / "models" / "slots-sticky.safetensors")
    data = make_dataset(closes(LONGER), horizon=5, next_date=pd.Timestamp("2017-09-27"))
    new = data.X.index > pd.Timestamp(record["data"]["last_return_date"])
    X = pd.concat([data.X[new], data.unfinished_X, data.next_X])
    y = np.append(data.y[new], np.full(5, np.nan))
    expected = model.predict(X, y)[slice(len(X) - 1, None)]
    assert later["forecast"]["std"] == pytest.approx(expected.std()[0], rel=1e-10)
