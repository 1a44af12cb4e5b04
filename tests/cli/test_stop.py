"""Stopping the command at any moment, and what it costs to start it."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_yahoo import FakeYahoo, make_bars, make_certificate

from regimeslot.prices import load_prices

from .conftest import child, hear_ctrl_c

FINAL = re.compile(r"prices-2017-09-08-\d{8}T\d{6}Z")


def tree(*folders: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def earlier(home: Path) -> Path:
    """A run folder that was there before."""
    folder = home / "runs" / "earlier"
    folder.mkdir(parents=True)
    (folder / "fit.json").write_text("{}")
    return folder


def drafts(home: Path) -> list[Path]:
    return [p for p in (home / "runs").iterdir() if p.name.startswith(".")]


def finals(home: Path) -> list[Path]:
    return [p for p in (home / "runs").iterdir() if FINAL.fullmatch(p.name)]


SLOW = pytest.mark.slow
MOMENTS = [
    pytest.param("computing", signal.SIGINT),
    *(pytest.param(m, signal.SIGINT, marks=SLOW) for m in ("importing", "writing")),
    *(pytest.param(m, signal.SIGKILL, marks=SLOW) for m in ("importing", "computing", "writing")),
]


@pytest.mark.parametrize(("moment", "how"), MOMENTS)
def test_stopped(
    moment: str, how: signal.Signals, home: Path, prices_csv: Path, earlier: Path
) -> None:
    before = tree(earlier)
    models = "mean,gjr-garch,slots-static,slots-markov,slots-sticky"
    process = child("fit", "--file", prices_csv, "--models", models, "--refit", "10")
    if moment == "importing":
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(process, lambda: "_multiarray_umath" in maps.read_text())
    elif moment == "computing":
        assert process.stderr is not None
        assert "5 models to test" in process.stderr.readline()
    else:
        wait_for(process, lambda: bool(drafts(home)))
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert tree(earlier) == before
    for folder in finals(home):  # the signal came after the renaming: then it is whole
        assert json.loads((folder / "fit.json").read_text())["models"]
        assert (folder / "report.html").stat().st_size > 10_000
    if how is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert out == ""
        assert err.split("\n")[-2:] == ["Stopped by Ctrl-C; nothing half-done was kept.", ""]
        assert "Traceback" not in err
        assert drafts(home) == []
    if moment != "writing":
        assert finals(home) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_while_downloading(
    how: signal.Signals, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fake_yahoo import slow

    with FakeYahoo(make_certificate(tmp_path)) as yahoo:
        yahoo.add("ACME", make_bars("2020-01-02", "2024-03-15"))
        for name, value in yahoo.env().items():
            monkeypatch.setenv(name, value)
        process = start("fit", "--ticker", "ACME", "--models", "mean")
        assert process.communicate(timeout=60)[1].startswith("ACME: ")
        assert process.returncode == 0
        cache = tmp_path / "cache"
        before = tree(cache)
        assert any(name.endswith("ACME.parquet") for name in before)

        yahoo.fail("ACME", slow(20), always=True)
        asked = yahoo.chart_requests("ACME")
        process = start("fit", "--ticker", "ACME", "--models", "mean", "--source", "yahoo")
        wait_for(process, lambda: yahoo.chart_requests("ACME") > asked)
        process.send_signal(how)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 5
    assert "Traceback" not in err
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert len(load_prices("ACME", source="cache", max_age="100000 days")) > 1000
    held = {name: digest for name, digest in tree(cache).items() if name.endswith(".parquet")}
    assert held.items() <= before.items()


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "regimeslot", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


@pytest.mark.slow
def test_two_runs_at_once_get_two_folders(home: Path, prices_csv: Path) -> None:
    pair = [child("fit", "--file", prices_csv, "--models", "mean") for _ in range(2)]
    for process in pair:
        process.communicate(timeout=120)
        assert process.returncode == 0
    made = sorted(path for path in (home / "runs").iterdir())
    assert len(made) == 2
    for folder in made:
        assert json.loads((folder / "fit.json").read_text())["models"]


@pytest.mark.slow
def test_reader_that_goes_away_is_no_failure(home: Path, prices_csv: Path) -> None:
    process = child("fit", "--file", prices_csv, "--models", "mean", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "Broken" not in err
    assert "Traceback" not in err
    (folder,) = (home / "runs").iterdir()
    assert (folder / "report.html").is_file()


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, regimeslot.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'torch', 'statsmodels', 'arch', 'rich.progress',"
        " 'pyarrow', 'yfinance', 'matplotlib', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert "fit" in done.stdout


def test_help_starts_quickly() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "regimeslot", "--help"], check=True, stdout=-3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.15


@pytest.mark.slow
def test_fit_does_not_load_torch(home: Path, prices_csv: Path) -> None:
    script = (
        "import sys, regimeslot.cli as cli\n"
        f"words = ['fit', '--file', {str(prices_csv)!r}, '--json']\n"
        "words += ['--models', 'mean,slots-sticky']\n"
        "try: cli.main(words)\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'statsmodels.api', 'yfinance', 'matplotlib.pyplot'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_version() -> None:
    import regimeslot

    done = subprocess.run(
        [sys.executable, "-m", "regimeslot", "--version"], capture_output=True, text=True
    )
    assert regimeslot.__version__ in done.stdout


@pytest.mark.slow
def test_default_run_on_the_bundled_index(home: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = child("fit", "--ticker", "SPY", "--json", "--quiet")
    out, _ = process.communicate(timeout=280)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 60
    record = json.loads(out)
    assert record["failures"] == {}
    against = {(c["model"], c["against"]): c for c in record["comparisons"]}
    assert against["pool", "gjr-garch"]["log_score_gain"] >= 0.012
    assert against["pool", "gjr-garch"]["t"] > 3
    assert against["pool", "markov"]["log_score_gain"] >= 0.05
    assert against["pool", "egarch-skewt"]["log_score_gain"] > 0
    for name, scores in record["models"].items():
        if name.startswith(("slots-", "pool")):
            assert scores["r2_oos"] > -0.005, name


@pytest.mark.parametrize("json_too", [False, True])
def test_reader_that_leaves_is_no_failure(json_too: bool, home: Path, prices_csv: Path) -> None:
    words = ("--models", "mean", "--out", "run", *(["--json"] if json_too else []))
    process = child("fit", "--file", prices_csv, *words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # as head does after its lines, here before the first
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert "; 1 model to test." in err
    assert err.splitlines()[-1] == "Run folder: run"
    assert "BrokenPipe" not in err
    assert (home / "run" / "report.html").exists()
