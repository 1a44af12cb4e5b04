"""A short series, one finished run of it, and the real command in this process or as a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for fake_yahoo

from fake_yahoo import FakeYahoo, loopback

from regimeslot.cli.program import program

# Short and cheap: 150 forecasts by four models.
FAST = ("--models", "mean,gjr-garch,slots-static,slots-sticky", "--refit", "100")

Command = Callable[..., Result]


def closes(rows: int = 700, *, seed: int = 0) -> pd.Series:
    """Weekday closes of two alternating regimes."""
    rng = np.random.default_rng(seed)
    scale = np.where((np.arange(rows) // 60) % 2 == 0, 0.006, 0.018)
    days = pd.bdate_range("2015-01-05", periods=rows, name="Date")
    moves = np.exp(np.cumsum(scale * rng.standard_t(6, rows)))
    return pd.Series(np.round(100 * moves, 4), days, name="Close")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, away from the user's cache."""
    monkeypatch.setenv("REGIMESLOT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("REGIMESLOT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def prices_csv(home: Path) -> Path:
    closes().to_csv(home / "prices.csv")
    return home / "prices.csv"


@pytest.fixture
def command() -> Command:
    """Run the command in this process: ``command("fit", "--file", path)``."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(program, [str(word) for word in words], prog_name="regimeslot")

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """One run folder, made with ``--json``, and what the command printed. Copy it to change it."""
    place = tmp_path_factory.mktemp("finished")
    closes().to_csv(place / "prices.csv")
    words = ["fit", "--file", place / "prices.csv", *FAST, "--out", place / "run", "--json"]
    result = CliRunner().invoke(program, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return place / "run", result


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYahoo]:
    """Yahoo, played in this process."""
    with FakeYahoo() as server:
        loopback(monkeypatch, server)
        yield server


def hear_ctrl_c() -> None:
    """Shells start background jobs deaf to Ctrl-C, and children inherit it: hear it again."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def child(*words: object, **options: object) -> subprocess.Popen[str]:
    """Start the command as a process of its own, with no way to any network."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    env = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    nowhere = "http://127.0.0.1:9"  # the discard port: refused at once
    env |= {"HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "regimeslot", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=hear_ctrl_c,
        **options,  # type: ignore[call-overload]
    )


def failed(result: Result, status: int) -> str:
    """Check that a command failed as it should, in one sentence; return the sentence."""
    assert result.exit_code == status, (result.exit_code, result.output)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: "), result.stderr
    return last
