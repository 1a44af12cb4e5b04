from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import fake_yahoo as fy
import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import DataWarning, NetworkError, PriceError, UnknownTickerError
from regimeslot.prices import Prices, load_prices
from regimeslot.prices.yahoo import download


def load(symbol: str = "SPY", **options: Any) -> Prices:
    return load_prices(symbol, source="yahoo", timeout=options.pop("timeout", 10), **options)


@pytest.fixture
def spy(yahoo: fy.FakeYahoo) -> fy.Listing:
    dividends = {"2023-06-16": 1.64, "2023-12-15": 1.91}
    return yahoo.add("SPY", fy.make_bars(), dividends=dividends)


def test_bars_are_adjusted_by_our_own_factor(spy: fy.Listing) -> None:
    prices = load()
    np.testing.assert_allclose(prices.close, spy.adjusted(), rtol=1e-12)
    ratio = spy.adjusted() / spy.bars["Close"].to_numpy()
    for name in ("Open", "High", "Low"):
        np.testing.assert_allclose(prices.frame[name], spy.bars[name] * ratio, rtol=1e-12)
    np.testing.assert_array_equal(prices.frame["Volume"], spy.bars["Volume"])
    assert (prices.source, prices.symbol, prices.ticker) == ("yahoo", "SPY", "SPY")
    assert prices.notes == ()
    assert prices.index.tz is None
    assert prices.index.name == "Date"
    assert list(prices.frame.columns) == ["Open", "High", "Low", "Close", "Volume"]
    assert set(prices.frame.dtypes) == {np.dtype(float)}


def test_the_whole_history_is_asked_for(yahoo: fy.FakeYahoo, spy: fy.Listing) -> None:
    load(start="2024-01-01")
    query = yahoo.requests[-1][2]
    assert int(query["period1"][0]) < -(10**9)  # before 1940


def test_a_dividend_after_the_last_bar_adds_no_row(yahoo: fy.FakeYahoo) -> None:
    bars = fy.make_bars()
    yahoo.add("SPY", bars, dividends={"2024-03-18": 1.6})
    prices = load()
    assert prices.last == bars.index[-1]
    assert prices.notes == ()


@pytest.mark.parametrize(
    ("clock", "kept"), [("2024-03-15 12:00", False), ("2024-03-15 16:00", True)]
)
def test_the_running_session_is_left_out(yahoo: fy.FakeYahoo, clock: str, kept: bool) -> None:
    yahoo.add("SPY", fy.make_bars(), now=pd.Timestamp(clock, tz="America/New_York"))
    expected = "2024-03-15" if kept else "2024-03-14"
    assert load().last == pd.Timestamp(expected)


def test_the_running_day_of_crypto_is_left_out(yahoo: fy.FakeYahoo) -> None:
    yahoo.add(
        "BTC-USD",
        fy.make_bars(symbol="BTC-USD"),
        timezone="UTC",
        hours=("00:00", "23:59"),
        instrument="CRYPTOCURRENCY",
        now=pd.Timestamp("2024-03-15 18:00", tz="UTC"),
    )
    prices = load("btc-usd")
    assert prices.last == pd.Timestamp("2024-03-14")
    assert prices.notes == ()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (fy.UNKNOWN, UnknownTickerError, "no prices for SPY; check the symbol"),
        (fy.NULL_RESULT, NetworkError, "not what it should be .TypeError"),
        (fy.RATE_LIMITED, NetworkError, "too many requests"),
        (fy.BAD_GATEWAY, NetworkError, "no readable answer"),
        (fy.MALFORMED, NetworkError, "no readable answer"),
        (fy.DOWN, NetworkError, "no readable answer"),
        (fy.truncated, NetworkError, "broke off"),
        (fy.reset, NetworkError, "connection to Yahoo for SPY failed"),
        (fy.edited(lambda r: r["meta"].pop("currency")), NetworkError, "KeyError: 'currency'"),
        (fy.edited(lambda r: r.pop("timestamp")), NetworkError, "KeyError: 'timestamp'"),
        (fy.edited(lambda r: r["timestamp"].pop()), NetworkError, "ValueError"),
        (fy.edited(lambda r: r["indicators"].clear()), NetworkError, "KeyError"),
    ],
)
def test_every_fault_is_one_typed_sentence(
    yahoo: fy.FakeYahoo, spy: fy.Listing, fault: fy.Fault, error: type, message: str
) -> None:
    yahoo.fail("SPY", fault, always=True)
    with pytest.raises(error, match=message) as caught:
        load()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fault", [fy.RATE_LIMITED, fy.BAD_GATEWAY, fy.MALFORMED, fy.truncated, fy.reset]
)
def test_one_broken_reply_is_survived(
    yahoo: fy.FakeYahoo, spy: fy.Listing, fault: fy.Fault
) -> None:
    yahoo.fail("SPY", fault)
    assert len(load()) == len(spy.bars)


def test_a_hanging_network_ends_in_time(yahoo: fy.FakeYahoo, spy: fy.Listing) -> None:
    yahoo.side_fault = fy.slow(60)
    yahoo.fail("SPY", fy.slow(60), always=True)
    began = time.monotonic()
    with pytest.raises(NetworkError, match="did not answer for SPY in time"):
        load(timeout=1.5)
    assert time.monotonic() - began < 3.5


def test_blocked_cookie_pages_leave_time_for_the_prices(
    yahoo: fy.FakeYahoo, spy: fy.Listing
) -> None:
    yahoo.side_fault = fy.slow(60)  # as an ad blocker does
    assert len(load(timeout=5)) == len(spy.bars)


def test_an_unreachable_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fy.loopback(monkeypatch, "http://no-such-host.invalid")
    began = time.monotonic()
    with pytest.raises(NetworkError, match="does not resolve"):
        load(timeout=30)
    assert time.monotonic() - began < 10


def test_a_refused_connection_is_a_network_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with fy.FakeYahoo() as gone:
        url = gone.url
    fy.loopback(monkeypatch, url)
    with pytest.raises(NetworkError, match="connection to Yahoo for SPY failed"):
        load(timeout=30)


def test_the_users_own_yfinance_keeps_working(
    yahoo: fy.FakeYahoo, spy: fy.Listing, tmp_path: Path
) -> None:
    import yfinance

    level = logging.getLogger("yfinance").level
    download("SPY", timeout=1.0, state_dir=tmp_path)
    assert yfinance.config.debug.hide_exceptions is True
    assert logging.getLogger("yfinance").level == level
    time.sleep(1.0)  # the deadline of the download is over; it must not bind later calls
    assert len(yfinance.Ticker("SPY").history(period="max")) == len(spy.bars)


def test_nothing_is_warned_or_printed(
    yahoo: fy.FakeYahoo, spy: fy.Listing, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load()
    assert capfd.readouterr() == ("", "")


def _set(column: str, row: int, value: Any) -> fy.Fault:
    def change(result: dict[str, Any]) -> None:
        result["indicators"]["quote"][0][column][row] = value

    return fy.edited(change)


def test_a_row_without_prices_is_dropped_and_named(yahoo: fy.FakeYahoo, spy: fy.Listing) -> None:
    def empty(result: dict[str, Any]) -> None:
        for column in ("open", "high", "low", "close"):
            result["indicators"]["quote"][0][column][40] = None
        result["indicators"]["adjclose"][0]["adjclose"][40] = None

    yahoo.fail("SPY", fy.edited(empty), fy.edited(empty))
    day = spy.bars.index[40]
    with pytest.warns(DataWarning, match=f"1 trading session missing .{day:%Y-%m-%d}"):
        prices = load()
    assert day not in prices.index
    assert any("without a close dropped" in note for note in prices.notes)


def test_missing_adjustment_is_made_up_for(yahoo: fy.FakeYahoo, spy: fy.Listing) -> None:
    fault = fy.edited(lambda result: result["indicators"].pop("adjclose"))
    yahoo.fail("SPY", fault, always=True)
    with pytest.warns(DataWarning, match="unadjusted prices; they were adjusted here"):
        prices = load()
    np.testing.assert_allclose(prices.close, spy.adjusted(), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, -5.0, float("inf")])
def test_impossible_closes_are_refused_and_not_cached(
    yahoo: fy.FakeYahoo, spy: fy.Listing, cache_dir: Path, value: float
) -> None:
    def spoil(result: dict[str, Any]) -> None:
        result["indicators"]["quote"][0]["close"][40] = value
        result["indicators"]["adjclose"][0]["adjclose"][40] = value

    yahoo.fail("SPY", fy.edited(spoil), always=True)
    with pytest.raises(PriceError, match=f"{spy.bars.index[40]:%Y-%m-%d}"):
        load()
    assert not list(cache_dir.glob("*.parquet"))


def test_an_unknown_open_does_not_cost_the_row(yahoo: fy.FakeYahoo, spy: fy.Listing) -> None:
    yahoo.fail("SPY", _set("open", 40, 0.0), always=True)
    prices = load()
    assert len(prices) == len(spy.bars)
    assert np.isnan(prices.frame["Open"].iloc[40])
    assert any("without a usable Open" in note for note in prices.notes)
