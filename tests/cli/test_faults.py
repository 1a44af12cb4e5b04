from __future__ import annotations

from pathlib import Path

import pytest
from fake_yahoo import FakeYahoo, make_bars

from regimeslot import reporting
from regimeslot.evaluation import folder, run

from .conftest import Command, child, closes, failed

FIT = ("--models", "mean", "--out", "run")


def text_of(**changes: str) -> str:
    """The series as CSV with some of its lines (by date) replaced."""
    lines = closes().to_csv().splitlines()
    return "\n".join(changes.get(line.split(",")[0].replace("-", "_"), line) for line in lines)


def cell(value: str) -> str:
    return text_of(**{"2016_02_01": f"2016-02-01,{value}"})


BAD_FILES = {
    "no date": ("\n".join(["Open,Close", *("1.0,2.0" for _ in range(400))]), 3, "date"),
    "no price": (
        "\n".join(["Date,Name,Side", *(f"{d:%Y-%m-%d},a,b" for d in closes().index)]),
        3,
        "Close",
    ),
    "text": (cell("n.a.!"), 3, "'n.a.!' in line 282"),
    "duplicates": (text_of(**{"2016_02_01": "2016-01-29,101"}), 3, "2016-01-29"),
    "zero": (cell("0"), 3, "2016-02-01"),
    "negative": (cell("-3.5"), 3, "2016-02-01"),
    "infinite": (cell("inf"), 3, "2016-02-01"),
    "thirty rows": (closes(30).to_csv(), 3, "30"),
    "three rows": (closes(3).to_csv(), 3, "3"),
    "two hundred rows": (closes(200).to_csv(), 3, "200"),
    "empty": ("", 3, "file.csv"),
    "no table": ("\x00\x01\x02 nothing", 3, "file.csv"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name: str, home: Path, command: Command) -> None:
    text, status, named = BAD_FILES[name]
    (home / "file.csv").write_text(text)
    said = failed(command("fit", "--file", "file.csv", *FIT), status)
    assert named in said
    assert sorted(path.name for path in home.iterdir()) == ["file.csv"]


def test_missing_file(command: Command) -> None:
    assert "no file" in failed(command("fit", "--file", "nowhere.csv", *FIT), 3)


def test_empty_cells_are_left_out_and_said(home: Path, command: Command) -> None:
    (home / "file.csv").write_text(cell(""))
    result = command("fit", "--file", "file.csv", *FIT)
    assert result.exit_code == 0
    assert "2016-02-01" in result.stderr


WRONG_USAGE = {
    "no series": ((), "--ticker"),
    "unknown model": (("--ticker", "KO", "--models", "slots-stiky"), "'slots-sticky'"),
    "empty models": (("--ticker", "KO", "--models", " , "), "--models"),
    "no models": (("--ticker", "KO", "--models", ""), "--models"),
    "start after end": (("--ticker", "KO", "--start", "2020-01-01", "--end", "2019-01-01"), "2020"),
    "no date": (("--ticker", "KO", "--start", "soon"), "soon"),
    "unknown source": (("--ticker", "KO", "--source", "bloomberg"), "bloomberg"),
    "file as source": (("--ticker", "KO", "--source", "file"), "--file"),
    "unknown column": (("--file", "prices.csv", "--column", "Settle"), "Settle"),
    "horizon": (("--ticker", "KO", "--horizon", "0"), "--horizon"),
    "no ticker": (("--ticker", "two words"), "two words"),
    "column alone": (("--ticker", "KO", "--column", "Close", "--source", "bundled"), "--file"),
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage(name: str, home: Path, prices_csv: Path, command: Command) -> None:
    words, named = WRONG_USAGE[name]
    assert named in failed(command("fit", *words), 2)
    assert sorted(path.name for path in home.iterdir()) == ["prices.csv"]


def test_errors_name_options_not_arguments(command: Command) -> None:
    said = failed(command("fit", "--ticker", "TSLA", "--source", "bundled"), 3)
    assert "TSLA" in said
    said = failed(command("fit", "--ticker", "TSLA", "--source", "cache"), 3)
    assert "--source yahoo" in said
    assert "source=" not in said


@pytest.mark.parametrize("place", ["file/run", "/proc/nowhere/run"])
def test_unwritable_folder_is_found_first(
    place: str, home: Path, prices_csv: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("in the way")
    monkeypatch.setattr(run, "fit_run", None)  # computing anything would fail otherwise
    said = failed(command("fit", "--file", prices_csv, "--models", "mean", "--out", place), 2)
    assert place in said


def test_taken_folder_is_refused_and_left_alone(
    home: Path, prices_csv: Path, command: Command
) -> None:
    (home / "run").mkdir()
    (home / "run" / "mine.txt").write_text("precious")
    assert "run" in failed(command("fit", "--file", prices_csv, *FIT), 2)
    assert [path.name for path in (home / "run").iterdir()] == ["mine.txt"]


def test_disk_full_at_the_end_still_shows_the_results(
    home: Path, prices_csv: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_tables", full)
    result = command("fit", "--file", prices_csv, *FIT)
    assert result.exit_code == 1
    assert "Tomorrow" in result.stdout
    assert result.stderr.splitlines()[-1].endswith("could not be written: no space left on device")
    assert sorted(path.name for path in home.iterdir()) == ["prices.csv"]


def test_failing_report_costs_nothing_else(
    home: Path, prices_csv: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("math domain error")

    monkeypatch.setattr(reporting, "report", broken, raising=False)
    result = command("fit", "--file", prices_csv, *FIT)
    assert result.exit_code == 1
    assert "Tomorrow" in result.stdout
    assert result.stdout.splitlines()[-1] == "Run folder: run"
    said = result.stderr.splitlines()[-1]
    assert "the report could not be made (ValueError: math domain error)" in said
    held = {path.name for path in (home / "run").rglob("*") if path.is_file()}
    assert held == {"fit.json", "forecasts.parquet", "prices.parquet", "mean.safetensors"}
    assert command("forecast", "run").exit_code == 0


@pytest.mark.parametrize("transform", ["level", "diff"])
def test_series_that_rests_at_zero(transform: str, home: Path, command: Command) -> None:
    series = (closes() - 100).round(2).rename("Value")
    series.iloc[-200:-150] = 0.0
    series.to_csv("rate.csv")
    words = ("--file", "rate.csv", "--transform", transform, "--quiet")
    result = command("fit", *words, *FIT)
    assert result.exit_code == 0, result.stderr
    assert (home / "run" / "report.html").exists()


def test_unknown_ticker(yahoo: FakeYahoo, command: Command) -> None:
    assert "NOSUCH" in failed(command("fit", "--ticker", "NOSUCH", *FIT), 3)


def test_downloaded_prices(yahoo: FakeYahoo, home: Path, command: Command) -> None:
    yahoo.add("ACME", make_bars("2020-01-02", "2024-03-15"))
    result = command("fit", "--ticker", "acme", "--models", "slots-static", "--json")
    assert result.exit_code == 0, result.stderr
    assert '"source": "yahoo"' in result.stdout


def test_no_network_and_nothing_held(home: Path) -> None:
    process = child("fit", "--ticker", "NOSUCH", *FIT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == ""
    (said,) = err.splitlines()
    assert said.startswith("Error: ")
    assert "--file" in said
    assert not (home / "run").exists()


@pytest.mark.slow
def test_no_network_falls_back_on_the_bundled_index(home: Path) -> None:
    process = child("fit", "--ticker", "SPY", "--start", "2020-01-01", *FIT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "bundled" in err
    assert "2022-12-28" in err
    assert "^GSPC stands in for SPY" in " ".join(out.split())
    assert "Traceback" not in err


def test_unforeseen_error_is_one_line(
    prices_csv: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr(run, "fit_run", broken)
    result = command("fit", "--file", prices_csv, *FIT, "--quiet")
    assert result.exit_code == 1
    (said,) = result.stderr.splitlines()
    assert "ZeroDivisionError: float division by zero" in said
    assert "REGIMESLOT_DEBUG=1" in said
    monkeypatch.setenv("REGIMESLOT_DEBUG", "1")
    assert "Traceback" in command("fit", "--file", prices_csv, *FIT).stderr


def test_unknown_command_suggests(command: Command) -> None:
    result = command("forcast")
    assert result.exit_code == 2
    assert "forecast" in result.stderr


def test_help_gives_each_example_a_line_of_its_own(command: Command) -> None:
    result = command("--help")
    assert "\\b" not in result.stdout
    assert "\b" not in result.stdout
    lines = [line.strip() for line in result.stdout.splitlines()]
    examples = [line for line in lines if line.startswith("regimeslot ")]
    named = [line.split()[1] for line in examples]
    assert named == ["fit", "forecast", "update", "study", "validate"]
    assert all(line.count("regimeslot ") == 1 for line in examples)


def test_data_of_nothing_held(command: Command) -> None:
    assert "NOSUCH" in failed(command("data", "NOSUCH"), 3)


def test_data_of_a_bundled_series(command: Command) -> None:
    result = command("data", "KO")
    assert result.exit_code == 0
    assert result.stdout == (
        "KO: 8,313 rows, 1990-01-02 to 2022-12-28, from the bundled snapshot\n"
    )
