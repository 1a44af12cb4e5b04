from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fake_yahoo as fy
import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import BadFileError, DataWarning, PriceError, UnknownTickerError
from regimeslot.prices import load_prices
from regimeslot.prices.cache import Cache, Entry, default_folder

FRIDAY_EVENING = datetime(2024, 3, 15, 21, 0, tzinfo=UTC)  # 17:00 in New York
HOURS = timedelta(hours=1)


def entry(
    bars: pd.DataFrame | None = None,
    *,
    fetched_at: datetime = FRIDAY_EVENING,
    dividends: tuple[int, ...] = (),
    symbol: str = "SPY",
) -> Entry:
    raw = (fy.make_bars() if bars is None else bars).assign(Dividends=0.0, **{"Stock Splits": 0.0})
    raw.insert(4, "Adj Close", raw["Close"])
    raw.loc[raw.index[list(dividends)], "Dividends"] = 1.5
    return Entry(raw, symbol, fetched_at, {"timezone": "America/New_York", "currency": "USD"})


@pytest.fixture
def cache(cache_dir: Path) -> Cache:
    return Cache(cache_dir)


@pytest.mark.parametrize("symbol", ["SPY", "^GSPC", "BTC-USD", "EURUSD=X", "M&M.NS"])
def test_an_entry_comes_back_as_it_went(cache: Cache, symbol: str) -> None:
    stored = cache.write(entry(symbol=symbol, dividends=(50, 110)))
    held = cache.read(symbol)
    assert held is not None
    pd.testing.assert_frame_equal(held.raw, stored.raw, check_freq=False, rtol=0, atol=0)
    assert (held.symbol, held.fetched_at, held.lost) == (symbol, FRIDAY_EVENING, ())
    assert held.details == stored.details
    assert {path.parent for path in cache.folder.iterdir()} == {cache.folder}


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_folder() == tmp_path / "cache"
    monkeypatch.delenv("REGIMESLOT_CACHE_DIR")
    assert default_folder().name == "regimeslot"


@pytest.mark.parametrize(
    ("after", "fresh"),
    [
        (timedelta(minutes=5), True),
        (timedelta(days=2), True),  # Sunday: no session since
        (timedelta(days=3, hours=-1), True),  # Monday 16:00: not finished
        (timedelta(days=3), False),  # Monday evening
        (timedelta(hours=-1), False),  # the clock was set back
    ],
)
def test_fresh_while_no_session_has_finished_since(after: timedelta, fresh: bool) -> None:
    assert entry().is_fresh(FRIDAY_EVENING + after, 4 * HOURS) is fresh


def test_an_entry_from_before_the_close_is_stale_after_it() -> None:
    noon = FRIDAY_EVENING - timedelta(hours=5)
    at_noon = entry(fy.make_bars(end="2024-03-14"), fetched_at=noon)
    assert at_noon.is_fresh(noon + 2 * HOURS, 4 * HOURS)
    assert not at_noon.is_fresh(FRIDAY_EVENING, 12 * HOURS)


def test_a_source_that_is_late_is_not_asked_all_the_time() -> None:
    late = entry(fy.make_bars(end="2024-03-08"))  # delisted, or Yahoo is behind
    assert late.is_fresh(FRIDAY_EVENING + 3 * HOURS, 4 * HOURS)
    assert not late.is_fresh(FRIDAY_EVENING + 5 * HOURS, 4 * HOURS)


def test_a_dividend_rewrites_the_history_and_leaves_no_seam(yahoo: fy.FakeYahoo) -> None:
    bars = fy.make_bars()
    yahoo.add("SPY", bars.iloc[:-3])
    before = load_prices("SPY")
    paid = bars.index[-2]
    after = yahoo.add("SPY", bars, dividends={f"{paid:%Y-%m-%d}": 2.0})
    prices = load_prices("SPY", max_age="0h")
    assert prices.source == "yahoo"
    np.testing.assert_allclose(prices.close, after.adjusted(), rtol=1e-12)

    true = np.diff(np.log(after.adjusted()))
    np.testing.assert_allclose(np.diff(np.log(prices.close)), true, rtol=0, atol=1e-12)
    topped_up = np.r_[before.close, after.adjusted()[-3:]]
    assert np.abs(np.diff(np.log(topped_up)) - true).max() > 0.004  # what a topped-up cache does

    again = load_prices("SPY")
    assert again.source == "cache"
    pd.testing.assert_frame_equal(again.frame, prices.frame, check_freq=False)


def test_the_generation_before_is_kept(cache: Cache) -> None:
    bars = fy.make_bars()
    cache.write(entry(bars.iloc[:-1]))
    cache.write(entry(bars))
    before, now = cache.read("SPY", previous=True), cache.read("SPY")
    assert before is not None
    assert now is not None
    assert len(before.raw) == len(now.raw) - 1


def test_lost_rows_and_dividends_are_named_and_the_complete_generation_stays(cache: Cache) -> None:
    bars = fy.make_bars()
    cache.write(entry(bars, dividends=(50, 110)))
    poor = entry(bars.drop(bars.index[[20, 30]]), dividends=(48,))  # row 50 of the whole
    for _ in range(2):  # a second bad download must not push the good one out
        stored = cache.write(poor)
        assert stored.lost == (
            f"2 rows ({bars.index[20]:%Y-%m-%d}, {bars.index[30]:%Y-%m-%d})",
            f"1 dividends ({bars.index[110]:%Y-%m-%d})",
        )
        previous = cache.read("SPY", previous=True)
        assert previous is not None
        assert len(previous.raw) == len(bars)
    healed = cache.write(entry(bars, dividends=(50, 110)))
    assert healed.lost == ()


def test_losing_much_replaces_nothing(cache: Cache) -> None:
    bars = fy.make_bars()
    cache.write(entry(bars))
    with pytest.raises(PriceError, match="lacks 202 of the 302 rows in the cache"):
        cache.write(entry(bars.iloc[-100:]))
    held = cache.read("SPY")
    assert held is not None
    assert len(held.raw) == len(bars)


def test_a_poor_download_is_warned_about(yahoo: fy.FakeYahoo) -> None:
    bars = fy.make_bars()
    yahoo.add("SPY", bars, dividends={f"{bars.index[50]:%Y-%m-%d}": 2.0})
    load_prices("SPY")
    yahoo.add("SPY", bars)
    with pytest.warns(DataWarning, match="lacks 1 dividends .* the earlier one is kept in"):
        prices = load_prices("SPY", max_age="0h")
    assert prices.source == "yahoo"
    assert load_prices("SPY").notes == prices.notes  # the cache does not forget it
    yahoo.add("SPY", bars.iloc[-60:])
    with pytest.warns(DataWarning, match="left as it is.* The cached SPY of"):
        prices = load_prices("SPY", max_age="0h")
    assert prices.source == "cache"
    assert len(prices) == len(bars)


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense", b"{}"])
def test_a_damaged_entry_is_named_and_replaced(
    cache: Cache, yahoo: fy.FakeYahoo, content: bytes
) -> None:
    yahoo.add("SPY", fy.make_bars())
    cache.folder.mkdir()
    cache.path("SPY").write_bytes(content)
    with pytest.raises(BadFileError, match=r"cached SPY in .* cannot be read"):
        load_prices("SPY", source="cache")
    with pytest.warns(DataWarning, match=r"cached SPY in .* cannot be read"):
        assert load_prices("SPY").source == "yahoo"
    assert load_prices("SPY").source == "cache"


def test_a_foreign_parquet_file_is_not_an_entry(cache: Cache) -> None:
    cache.folder.mkdir()
    fy.make_bars().to_parquet(cache.path("SPY"))
    with pytest.raises(BadFileError, match="cannot be read"):
        cache.read("SPY")


def test_an_unwritable_cache_does_not_cost_the_download(
    yahoo: fy.FakeYahoo, tmp_path: Path
) -> None:
    yahoo.add("SPY", fy.make_bars())
    (tmp_path / "occupied").write_text("a file where the folder should be")
    with pytest.warns(DataWarning, match="could not be cached"):
        prices = load_prices("SPY", cache_dir=tmp_path / "occupied")
    assert prices.source == "yahoo"


def test_asking_an_empty_cache(cache: Cache) -> None:
    with pytest.raises(UnknownTickerError, match="has no SPY; download it with source='yahoo'"):
        load_prices("SPY", source="cache")
    assert not cache.folder.exists()  # reading leaves nothing behind


CHILD = """
import os, signal, sys
from pathlib import Path
import numpy as np, pandas as pd
from datetime import datetime, timezone
from regimeslot.prices.cache import Cache, Entry

def flat(level):
    days = pd.bdate_range("2000-01-03", periods=3000, name="Date").as_unit("us")
    names = ["Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits"]
    raw = pd.DataFrame({name: np.full(len(days), level) for name in names}, index=days)
    return Entry(raw, "SPY", datetime(2024, 1, 1, tzinfo=timezone.utc), {})

cache = Cache(Path(sys.argv[1]))
"""


def flat(level: float) -> Entry:
    days = pd.bdate_range("2000-01-03", periods=3000, name="Date").as_unit("us")
    names = ["Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits"]
    raw = pd.DataFrame({name: np.full(len(days), level) for name in names}, index=days)
    return Entry(raw, "SPY", FRIDAY_EVENING, {})


def child(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD + textwrap.dedent(code), str(folder)])


def level(held: Entry | None) -> float:
    """Return the one value of an entry written by a child: a mixture of two would show."""
    assert held is not None
    assert len(held.raw) == 3000
    (value,) = np.unique(held.raw.to_numpy())
    return float(value)


@pytest.mark.slow
def test_two_processes_write_and_readers_meet_whole_files(cache: Cache) -> None:
    writers = [
        child(f"for _ in range(8): cache.write(flat({value}))", cache.folder)
        for value in (1.0, 2.0)
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if (held := cache.read("SPY")) is not None:
            seen.add(level(held))
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen <= {1.0, 2.0}
    assert {level(cache.read("SPY")), level(cache.read("SPY", previous=True))} <= {1.0, 2.0}
    assert not list(cache.folder.glob("*.tmp"))


def test_a_process_killed_in_the_middle_leaves_the_old_entry(cache: Cache) -> None:
    # Killed once with the new file half written, once with it whole and not yet in place.
    kill = "lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)"
    half = f"""
        from pyarrow import parquet
        def write_half(table, file):
            file.write(b"PAR1 half")
            file.flush()
            ({kill})()
        parquet.write_table = write_half
        cache.write(flat(2.0))
    """
    whole = f"os.replace = {kill}\ncache.write(flat(2.0))"
    cache.write(flat(1.0))
    for code in (half, whole):
        assert child(code, cache.folder).wait(60) == -9
        assert level(cache.read("SPY")) == 1.0
        assert list(cache.folder.glob("*.tmp"))
    cache.write(flat(3.0))
    assert level(cache.read("SPY")) == 3.0
    assert not list(cache.folder.glob("*.tmp"))  # the litter is swept
    assert level(cache.read("SPY", previous=True)) == 1.0


def test_ctrl_c_leaves_no_litter(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(entry())

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.write(entry(fy.make_bars(seed=1)))
    monkeypatch.undo()
    assert not list(cache.folder.glob("*.tmp"))
    held = cache.read("SPY")
    assert held is not None
    pd.testing.assert_frame_equal(held.raw, entry().raw, check_freq=False)
