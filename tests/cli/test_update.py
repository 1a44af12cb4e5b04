"""``regimeslot update``: live use of a run folder, from cron, stopped at any moment."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from fake_yahoo import RATE_LIMITED, FakeYahoo, make_bars

from regimeslot import load, make_dataset
from regimeslot.evaluation.record import read_record
from regimeslot.evaluation.record_scores import record_table

from .conftest import Command, child, closes, failed

LONGER = 712


@pytest.fixture
def run(finished: tuple[Path, Result], home: Path) -> Path:
    """A copy of the finished run, to be changed at will."""
    shutil.copytree(finished[0], home / "run")
    return home / "run"


@pytest.fixture
def longer(home: Path) -> Path:
    closes(LONGER).to_csv(home / "longer.csv")
    return home / "longer.csv"


def bars(run: Path) -> list[str]:
    entries = [json.loads(line) for line in (run / "record.jsonl").read_text().splitlines()[1:]]
    return [entry["bar"] for entry in entries if "bar" in entry]


def test_new_bars_are_recorded_by_every_model(run: Path, longer: Path, command: Command) -> None:
    result = command("update", run, "--file", longer, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["recorded"] == {"new": 13, "bars": 13}
    assert [new["bar"] for new in said["new"]] == [f"{d:%Y-%m-%d}" for d in closes(712).index[700:]]
    assert bars(run) == [f"{d:%Y-%m-%d}" for d in closes(712).index[699:]]
    held = read_record(run)
    data = make_dataset(closes(LONGER))
    X, y = pd.concat([data.X.iloc[-12:], data.next_X]), np.append(data.y.iloc[-12:], np.nan)
    assert held.models == ["mean", "gjr-garch", "slots-static", "slots-sticky"]
    for name in held.models:
        expected = load(run / "models" / f"{name}.safetensors").predict(X, y)
        np.testing.assert_allclose(held.forecasts(name).scales, expected.scales, rtol=1e-10)
        np.testing.assert_allclose(held.forecasts(name).weights, expected.weights, rtol=1e-10)
    models = {row["model"]: row for row in said["scores"]}
    assert models["slots-sticky"]["n"] == 12
    assert models["slots-sticky"]["made"] == "after the fact"
    assert models["slots-sticky"]["gain"] == pytest.approx(
        12 * (models["slots-sticky"]["log_score"] - models["gjr-garch"]["log_score"]), rel=1e-9
    )
    assert said["reference"] == "gjr-garch"


def test_forecast_and_update_agree(run: Path, longer: Path, command: Command) -> None:
    told = json.loads(command("forecast", run, "--file", longer, "--json").stdout)
    updated = json.loads(command("update", run, "--file", longer, "--json").stdout)
    assert updated["forecast"] == told["forecast"]
    # The file that the run was made from ends with the fit: the record holds the rest.
    held = json.loads(command("forecast", run, "--json").stdout)
    assert held["forecast"]["quantiles"] == pytest.approx(told["forecast"]["quantiles"], rel=1e-9)
    assert held["sessions_since_fit"] == 12
    earlier = command("forecast", run, "--file", longer, "--end", "2017-09-15", "--json")
    assert json.loads(earlier.stdout)["sessions_since_fit"] == 5


def test_words(run: Path, longer: Path, command: Command) -> None:
    result = command("update", run, "--file", longer)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 80
    flat = " ".join(result.stdout.split())
    assert "New: 12 sessions, Mon 11 Sep 2017 to Tue 26 Sep 2017." in flat
    assert "next session, Wed 27 Sep 2017" in flat
    assert "forecasts for 13 sessions; 12 came true, 0 of them made in time and 12 after" in flat
    assert "Made after the fact: 12 come true" in flat
    assert "Gain: nats over gjr-garch" in flat


def test_nothing_new(run: Path, longer: Path, command: Command) -> None:
    first = command("update", run)
    assert first.exit_code == 0
    assert "Nothing new: the source has no bar for Mon 11 Sep 2017 yet" in first.stdout
    assert "forecasts for 1 session; none has come true yet" in " ".join(first.stdout.split())
    command("update", run, "--file", longer)
    before = (run / "record.jsonl").read_bytes()
    again = command("update", run, "--file", longer)
    assert again.exit_code == 0
    assert again.stdout.startswith("Nothing new: ")
    assert (run / "record.jsonl").read_bytes() == before


def test_gap_restatement_and_repeat_are_said(run: Path, home: Path, command: Command) -> None:
    wrong = closes(705)
    wrong.iloc[703] *= 1.05
    wrong.to_csv("wrong.csv")
    assert command("update", run, "--file", "wrong.csv").exit_code == 0
    right = closes(LONGER)
    right.iloc[708] = right.iloc[707]
    right.drop(right.index[706]).to_csv("right.csv")
    result = command("update", run, "--file", "right.csv", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert list(said["restated"]) == [f"{d:%Y-%m-%d}" for d in right.index[703:705]]
    for words in ("2 bars were restated", "No bar came for 2017-09-19", "repeats the one before"):
        assert sum(words in note for note in said["notes"]) == 1
        assert words in " ".join(result.stderr.split())
    assert len(bars(run)) == len(set(bars(run))) == 12


def test_repeated_date_is_refused(run: Path, home: Path, command: Command) -> None:
    text = closes(LONGER).to_csv()
    (home / "twice.csv").write_text(text + text.splitlines()[-1].replace(",", ",9") + "\n")
    said = failed(command("update", run, "--file", "twice.csv"), 3)
    assert "2017-09-26 came again" in said
    assert not (run / "record.jsonl").exists()


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_not_a_run_folder(place: str, home: Path, command: Command) -> None:
    (home / "empty").mkdir()
    assert "run folder" in failed(command("update", place), 2)
    assert list((home / "empty").iterdir()) == []


def test_older_format(run: Path, command: Command) -> None:
    told = json.loads((run / "fit.json").read_text())
    (run / "fit.json").write_text(json.dumps({**told, "format": 0}))
    assert "format 0, this version reads 1" in failed(command("update", run), 3)


def test_damaged_record_and_models(run: Path, longer: Path, command: Command) -> None:
    command("update", run, "--file", longer)
    whole = (run / "record.jsonl").read_text()
    (run / "record.jsonl").write_text(whole.replace('"version"', "version", 1))
    assert "record.jsonl is damaged in line 2" in failed(command("update", run), 3)
    assert "record.jsonl is damaged" in failed(command("forecast", run), 3)
    (run / "record.jsonl").write_text(whole)
    (run / "models" / "mean.safetensors").unlink()
    assert "mean.safetensors" in failed(command("update", run), 3)


def test_help_shows_a_cron_line(command: Command) -> None:
    lines = [line.strip() for line in command("update", "--help").stdout.splitlines()]
    (cron,) = [line for line in lines if re.match(r"[\d*]+ [\d*]+ [\d*]+ [\d*]+ ", line)]
    assert "regimeslot update" in cron


def test_yahoo_pays_a_dividend(yahoo: FakeYahoo, home: Path, command: Command) -> None:
    whole = make_bars("2020-01-02", "2024-03-15")
    yahoo.add("ACME", whole.loc[:"2024-03-01"])
    words = ("--models", "mean,slots-static", "--out", "run", "--quiet")
    assert command("fit", "--ticker", "ACME", *words).exit_code == 0
    yahoo.add("ACME", whole.loc[:"2024-03-08"])
    first = command("update", "run", "--source", "yahoo", "--json")
    assert first.exit_code == 0, first.stderr
    yahoo.add("ACME", whole, dividends={"2024-03-13": 0.02 * whole["Close"].iloc[-1]})
    second = command("update", "run", "--source", "yahoo", "--json")
    said = json.loads(second.stdout)
    assert said["restated"] == {}
    assert said["new"][0]["bar"] == "2024-03-11"
    assert not any("restated" in note for note in said["notes"])
    paid = next(new for new in said["new"] if new["bar"] == "2024-03-13")
    plain = np.log(whole["Close"]).diff()["2024-03-13"]
    assert paid["return"] > plain + 0.01  # the return holds the dividend
    yahoo.fail("ACME", RATE_LIMITED, always=True)
    before = (home / "run" / "record.jsonl").read_bytes()
    failed(command("update", "run", "--source", "yahoo"), 3)
    assert (home / "run" / "record.jsonl").read_bytes() == before


@pytest.mark.slow
def test_two_at_once(run: Path, longer: Path) -> None:
    pair = [child("update", run, "--file", longer, "--json") for _ in range(2)]
    said = []
    for process in pair:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        said.append(json.loads(out)["recorded"])
    assert sorted(each["new"] for each in said) == [0, 13]
    assert len(bars(run)) == len(set(bars(run))) == 13


@pytest.mark.slow
def test_loads_nothing_that_it_does_not_need(run: Path, longer: Path) -> None:
    script = (
        "import sys, regimeslot.cli as cli\n"
        f"try: cli.main(['update', {str(run)!r}, '--file', {str(longer)!r}, '--json'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'statsmodels', 'arch', 'sklearn', 'yfinance', 'matplotlib', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("how", "times"), [(signal.SIGKILL, 12), (signal.SIGINT, 4)])
def test_stopped_many_times(how: signal.Signals, times: int, run: Path, home: Path) -> None:
    """Bars come one by one, and updates are stopped at random moments."""
    chance = random.Random(0)
    began = time.monotonic()
    closes(701).to_csv("growing.csv")
    assert child("update", run, "--file", "growing.csv", "--json").wait() == 0
    usual = time.monotonic() - began
    before, stopped, rows = (run / "record.jsonl").read_bytes(), 0, 702
    while stopped < times:
        closes(rows).to_csv("growing.csv")
        process = child("update", run, "--file", "growing.csv", "--json")
        try:
            process.wait(usual * chance.choice((chance.random(), 0.7 + 0.5 * chance.random())))
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            stopped += 1
        process.communicate()
        content = (run / "record.jsonl").read_bytes()
        assert content.startswith(before)
        read_record(run)
        before = content
        rows += chance.random() < 0.5
    assert child("update", run, "--file", "growing.csv", "--json").wait() == 0
    assert (run / "record.jsonl").read_bytes().startswith(before)
    final = pd.read_csv("growing.csv", index_col=0, parse_dates=True)["Close"]
    assert bars(run) == [f"{day:%Y-%m-%d}" for day in final.index[699:]]
    assert not read_record(run).torn
    assert not [path for path in run.iterdir() if path.name.endswith(".part")]
    table = record_table(read_record(run))
    assert not table.duplicated(["after", "model"]).any()
