from __future__ import annotations

import fake_yahoo as fy
import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import PriceError, TooFewRowsError
from regimeslot.prices.checks import Finding, inspect, tidy

BARS = fy.make_bars()


def sentences(frame: pd.DataFrame, symbol: str = "SPY") -> list[str]:
    _, findings = inspect(tidy(frame, "S")[0], name="S", symbol=symbol, kind="price")
    return [finding.sentence for finding in findings if finding.warn]


def scaled(row: int, factor: float) -> pd.DataFrame:
    """Return the bars with every price from a row on multiplied."""
    frame = BARS.copy()
    frame.iloc[row:, :4] *= factor
    return frame


def test_clean_bars_pass_untouched() -> None:
    frame, findings = tidy(BARS, "S")
    assert findings == []
    inspected, findings = inspect(frame, name="S", symbol="SPY", kind="price")
    assert findings == []
    pd.testing.assert_frame_equal(inspected, BARS, check_freq=False, check_index_type=False)


def test_missing_sessions_are_listed() -> None:
    frame = BARS.drop(BARS.index[[9, 30, 31, 77]])
    days = ", ".join(f"{day:%Y-%m-%d}" for day in BARS.index[[9, 30, 31]])
    assert sentences(frame) == [f"S: 4 trading sessions missing ({days} and 1 more)."]


def test_without_a_calendar_only_long_gaps_count() -> None:
    days = pd.bdate_range("2020-01-01", periods=400, name="Date")
    rate = pd.DataFrame({"Close": np.exp(np.sin(np.arange(400.0)) / 50)}, index=days)
    assert sentences(rate.drop(days[100:105]), "EURUSD=X") == []
    gap = f"from {days[99]:%Y-%m-%d} to {days[112]:%Y-%m-%d}"
    assert sentences(rate.drop(days[100:112]), "EURUSD=X") == [
        f"S: 1 gap in the dates, the longest {gap}."
    ]


def test_a_missing_month_is_a_gap() -> None:
    months = pd.date_range("2000-01-01", periods=60, freq="MS", name="Date")
    level = pd.DataFrame({"Close": 100 + np.arange(60.0)}, index=months)
    assert sentences(level) == []
    (sentence,) = sentences(level.drop(months[20]))
    assert "1 gap in the dates, the longest from 2001-08-01 to 2001-10-01" in sentence


@pytest.mark.parametrize("factor", [1 / 2, 2.0, 2 / 3, 10.0, 1.7])
def test_jumps_and_splits(factor: float) -> None:
    frame = scaled(50, factor / (BARS["Close"].iloc[50] / BARS["Close"].iloc[49]))
    (sentence,) = sentences(frame)
    assert "1 log return beyond 0.5 or near a split ratio" in sentence
    assert f"largest {np.log(factor):+.2f} on {BARS.index[50]:%Y-%m-%d}" in sentence


def test_an_ordinary_crash_is_no_split() -> None:
    frame = scaled(50, 0.8)
    assert sentences(frame) == []


def test_inconsistent_bars() -> None:
    frame = BARS.copy()
    frame.iloc[5, frame.columns.get_loc("High")] = frame["Low"].iloc[5] * 0.99
    frame.iloc[8, frame.columns.get_loc("Low")] = frame["Close"].iloc[8] * 1.001
    (sentence,) = sentences(frame)
    assert "2 rows with a close outside its low and high" in sentence
    rounded = BARS.assign(High=BARS["High"] * (1 - 1e-7), Low=BARS["Low"] * (1 + 1e-7))
    assert sentences(rounded) == []


def test_runs_of_identical_closes() -> None:
    frame = BARS[["Close"]].copy()
    frame.iloc[20:25] = 400.0
    assert sentences(frame) == []
    frame.iloc[20:26] = 400.0
    (sentence,) = sentences(frame)
    assert (
        f"1 run of 6 or more identical closes (longest 6 rows from {BARS.index[20]:%Y-%m-%d})"
        in (sentence)
    )


def test_zero_volume_counts_only_once_volume_is_recorded() -> None:
    frame = BARS.copy()
    frame.iloc[:50, frame.columns.get_loc("Volume")] = 0
    assert sentences(frame) == []
    frame.iloc[60, frame.columns.get_loc("Volume")] = 0
    assert sentences(frame) == [f"S: 1 row with zero volume ({BARS.index[60]:%Y-%m-%d})."]
    assert sentences(BARS.assign(Volume=0.0)) == []


def test_order_is_restored_with_a_note() -> None:
    frame, findings = tidy(BARS.iloc[::-1], "S")
    assert findings == [Finding("S: newest row first; sorted by date.", warn=False)]
    pd.testing.assert_frame_equal(frame, BARS, check_freq=False, check_index_type=False)
    mixed = BARS.sample(frac=1, random_state=0)
    frame, (finding,) = tidy(mixed, "S")
    assert "out of order" in finding.sentence
    pd.testing.assert_frame_equal(frame, BARS, check_freq=False, check_index_type=False)


def test_duplicates_and_short_series_are_errors() -> None:
    with pytest.raises(PriceError, match=f"but {BARS.index[4]:%Y-%m-%d} came again"):
        tidy(pd.concat([BARS, BARS.iloc[[4]]]), "S")
    with pytest.raises(TooFewRowsError, match=r"at least 30 rows .* got 29"):
        tidy(BARS.iloc[:29], "S")
    assert len(tidy(BARS.iloc[:30], "S")[0]) == 30


def test_the_input_is_not_written_to() -> None:
    frame = BARS.assign(Open=0.0)
    before = frame.copy()
    inspect(tidy(frame, "S")[0], name="S", symbol="SPY", kind="price")
    pd.testing.assert_frame_equal(frame, before)
