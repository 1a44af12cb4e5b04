from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import fake_yahoo as fy
import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import (
    BadFileError,
    DataError,
    DataWarning,
    InvalidInputError,
    NetworkError,
    RegimeslotError,
    UnknownTickerError,
)
from regimeslot.prices import load_prices
from regimeslot.prices.bundled import bundled_symbols, read_bundled


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    fy.loopback(monkeypatch, "http://no-such-host.invalid")


def test_auto_downloads_then_reads_the_fresh_cache(yahoo: fy.FakeYahoo, cache_dir: Path) -> None:
    yahoo.add("SPY", fy.make_bars())
    first, second = load_prices("spy"), load_prices("SPY")
    assert (first.source, second.source) == ("yahoo", "cache")
    assert (first.ticker, first.symbol) == ("spy", "SPY")
    assert first.as_of == second.as_of
    assert yahoo.chart_requests("SPY") == 2  # its time zone and its prices, once
    pd.testing.assert_frame_equal(first.frame, second.frame, check_freq=False, rtol=0, atol=0)
    assert (cache_dir / "SPY.parquet").is_file()


def test_yahoo_is_always_asked_when_asked_for(yahoo: fy.FakeYahoo) -> None:
    yahoo.add("SPY", fy.make_bars())
    load_prices("SPY", source="yahoo")
    before = yahoo.chart_requests("SPY")
    load_prices("SPY", source="yahoo")
    assert yahoo.chart_requests("SPY") > before


def test_a_stale_cache_stands_in_with_a_warning(yahoo: fy.FakeYahoo) -> None:
    bars = fy.make_bars(symbol="^GSPC")
    yahoo.add("SPY", bars)
    load_prices("SPY")
    yahoo.fail("SPY", fy.RATE_LIMITED, always=True)
    expected = "too many requests.*The cached SPY of .* UTC is used; it ends on 2024-03-15"
    with pytest.warns(DataWarning, match=expected):
        prices = load_prices("SPY", max_age="0h")
    assert (prices.source, prices.proxy_for) == ("cache", None)
    assert len(prices.notes) == 1
    with pytest.warns(DataWarning, match="The cached SPY of"):
        assert load_prices("SPY", source="cache", max_age="0h").source == "cache"


@pytest.mark.parametrize(("ticker", "proxy"), [("SPY", "SPY"), ("^GSPC", None), ("KO", None)])
def test_the_snapshot_stands_in_offline(offline: None, ticker: str, proxy: str | None) -> None:
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prices = load_prices(ticker)
    assert time.monotonic() - began < 10
    assert (prices.source, prices.ticker, prices.proxy_for) == ("bundled", ticker, proxy)
    assert prices.symbol == ("^GSPC" if proxy else ticker)
    assert "does not resolve" in prices.notes[0]
    assert "ends on 2022-12-28" in prices.notes[0]
    assert any("stands in for it" in note for note in prices.notes) is (proxy is not None)
    assert tuple(str(warning.message) for warning in caught) == prices.notes


def test_nothing_left_is_an_error_that_says_what_to_do(offline: None) -> None:
    with pytest.raises(NetworkError, match=r"no cached TSLA either: pass .* file=, or take one of"):
        load_prices("TSLA")


def test_an_unknown_ticker_stays_one(yahoo: fy.FakeYahoo) -> None:
    with pytest.raises(UnknownTickerError, match=r"no prices for NOPE.*no cached NOPE"):
        load_prices("NOPE")
    assert UnknownTickerError.exit_code == 3


def test_each_source_alone_does_not_fall_back(offline: None) -> None:
    with pytest.raises(NetworkError):
        load_prices("SPY", source="yahoo")
    with pytest.raises(UnknownTickerError, match="cache in"):
        load_prices("SPY", source="cache")
    with pytest.raises(UnknownTickerError, match="bundled snapshot has no TSLA"):
        load_prices("TSLA", source="bundled")


def test_the_snapshot_is_what_its_readme_says() -> None:
    assert len(bundled_symbols()) == 21
    with pytest.warns(DataWarning, match="stands in for it"):
        spy = load_prices("SPY", source="bundled")
    index = load_prices("^GSPC", source="bundled")
    pd.testing.assert_frame_equal(spy.frame, index.frame)
    assert len(index) == 8313
    assert index.notes == ()  # no missing session, jump or stale price in 33 years
    # closing levels of the index that are widely published
    assert index.close["1999-12-31"] == 1469.25
    assert index.close["2009-03-09"] == 676.53
    assert index.close["2020-03-23"] == 2237.40
    assert all(np.isfinite(read_bundled(s).to_numpy()).all() for s in bundled_symbols())
    folder = Path(__file__).parents[2] / "data"
    assert "BSD 3-Clause" in (folder / "LICENSE-skfolio").read_text()
    readme = (folder / "README.md").read_text()
    assert all(symbol in readme for symbol in bundled_symbols())


def test_rows_are_cut_to_the_range_both_ends_in() -> None:
    prices = load_prices("KO", source="bundled", start="2020-01-02", end="2020-12-31")
    assert prices.index[0] == pd.Timestamp("2020-01-02")
    assert prices.last == pd.Timestamp("2020-12-31")
    assert len(prices) == 253
    with pytest.raises(DataError, match="no rows from 2023-01-01: it holds 1990-01-02 to 2022-12"):
        load_prices("KO", source="bundled", start="2023-01-01")
    with pytest.raises(InvalidInputError, match="start 2020-01-02 is after end 2019-01-01"):
        load_prices("KO", source="bundled", start="2020-01-02", end="2019-01-01")


def test_findings_outside_the_range_are_not_reported() -> None:
    with pytest.warns(DataWarning, match="2000-09-29"):
        load_prices("AAPL", source="bundled")
    assert load_prices("AAPL", source="bundled", start="2001-01-01").notes == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected a ticker such as SPY"),
        ({"ticker": " "}, "Expected a ticker such as SPY"),
        ({"ticker": "a b"}, "Expected a ticker such as SPY"),
        ({"ticker": "../etc"}, "Expected a ticker such as SPY"),
        ({"ticker": "SPY", "source": "web"}, "source must be one of auto, yahoo, cache, file, bun"),
        ({"ticker": "SPY", "source": "file"}, "needs the path of the file"),
        ({"source": "yahoo", "file": "x.csv"}, "file= goes with source='file'"),
        ({"ticker": "KO", "source": "bundled", "start": "soon"}, "start must be a date .*'soon'"),
        ({"ticker": "KO", "source": "bundled", "end": "2020-13-01"}, "end must be a date"),
        ({"ticker": "KO", "source": "bundled", "start": ""}, "start must be a date"),
        ({"ticker": "KO", "source": "bundled", "kind": "bond"}, "kind must be 'price' or 'series'"),
        ({"ticker": "KO", "source": "bundled", "column": "x"}, "column names a column of a file"),
        ({"ticker": "KO", "timeout": 0}, "timeout must be positive"),
        ({"ticker": "KO", "timeout": float("nan")}, "timeout must be positive"),
        ({"ticker": "KO", "max_age": "a while"}, "max_age must be a duration"),
        ({"ticker": "KO", "max_age": 4}, "max_age must be a duration"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        load_prices(**arguments)
    assert caught.value.exit_code == 2


def test_warnings_point_at_the_caller() -> None:
    with pytest.warns(DataWarning) as caught:
        load_prices("AAPL", source="bundled")
    assert {warning.filename for warning in caught} == {__file__}


def test_threads_may_load_at_the_same_time(yahoo: fy.FakeYahoo) -> None:
    names = ["AAA", "BBB", "CCC", "DDD"]
    listed = {name: yahoo.add(name, fy.make_bars(seed=i)) for i, name in enumerate(names)}
    found: dict[str, Any] = {}

    def work(name: str) -> None:
        found[name] = load_prices(name).close.to_numpy()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name in names:
        np.testing.assert_allclose(found[name], listed[name].bars["Close"], rtol=1e-12)


def test_prices_know_themselves() -> None:
    with pytest.warns(DataWarning):
        prices = load_prices("SPY", source="bundled")
    expected = "Prices(^GSPC, proxy for SPY, 8313 rows, 1990-01-02 to 2022-12-28, from bundled)"
    assert repr(prices) == expected
    assert prices.close.name == "SPY"
    assert prices.as_of.tzinfo is not None


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import regimeslot.prices", "yfinance pyarrow pandas curl_cffi filelock"),
        (
            "from regimeslot.prices import load_prices, Prices, next_session; "
            "load_prices('KO', source='bundled')",
            "yfinance curl_cffi filelock",
        ),
    ],
)
def test_imports_stay_light(statement: str, absent: str) -> None:
    code = f"import sys; {statement}; print([m for m in {absent.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_unpatched_child_process_downloads_over_https(certificate: Path, tmp_path: Path) -> None:
    code = (
        "from regimeslot.prices import load_prices\n"
        "p = load_prices('SPY', timeout=20)\n"
        "print(p.source, len(p), repr(float(p.close.iloc[0])))"
    )
    with fy.FakeYahoo(certificate) as yahoo:
        listing = yahoo.add("SPY", fy.make_bars(), dividends={"2023-06-16": 1.6})
        environment = yahoo.env(REGIMESLOT_CACHE_DIR=str(tmp_path / "child"))
        runs = [
            subprocess.run(
                [sys.executable, "-W", "error::UserWarning", "-c", code],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            for _ in range(2)
        ]
        assert [run.stderr for run in runs] == ["", ""]
        assert yahoo.chart_requests("SPY") == 2
    for run, source in zip(runs, ("yahoo", "cache"), strict=True):
        where, rows, close = run.stdout.split()
        assert (where, int(rows)) == (source, len(listing.bars))
        assert float(close) == pytest.approx(listing.adjusted()[0], rel=1e-12)


def test_every_error_of_a_file_is_typed(tmp_path: Path) -> None:
    assert issubclass(BadFileError, RegimeslotError)
    with pytest.raises(BadFileError, match="There is no file"):
        load_prices("SPY", file=tmp_path / "gone.csv")
