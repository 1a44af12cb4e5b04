from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.errors import InvalidInputError
from regimeslot.prices import infer_frequency, next_session, sessions_between
from regimeslot.prices.bundled import read_bundled
from regimeslot.prices.sessions import follows_new_york, last_finished_session

NYSE_CLOSED = {
    # www.nyse.com/markets/hours-calendars and the exchange's yearly announcements
    2010: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",  # new year 2011 not made up for
    2012: "01-02 01-16 02-20 04-06 05-28 07-04 09-03 10-29 10-30 11-22 12-25",
    2018: "01-01 01-15 02-19 03-30 05-28 07-04 09-03 11-22 12-05 12-25",
    2021: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",  # no Juneteenth yet
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
}
FEW_DAYS = pd.bdate_range("2022-01-10", "2022-01-14")


@pytest.mark.parametrize("year", NYSE_CLOSED)
def test_new_york_holidays_are_those_of_the_exchange(year: int) -> None:
    sessions = sessions_between(f"{year}-01-01", f"{year}-12-31", FEW_DAYS, "SPY")
    closed = pd.bdate_range(f"{year}-01-01", f"{year}-12-31").difference(sessions)
    assert " ".join(closed.strftime("%m-%d")) == NYSE_CLOSED[year]


def test_calendar_agrees_with_every_traded_day_of_33_years() -> None:
    traded = pd.DatetimeIndex(read_bundled("^GSPC").index)
    expected = sessions_between(traded[0], traded[-1], traded, "^GSPC")
    assert traded.difference(expected).empty
    assert expected.difference(traded).empty


def test_the_exchange_was_shut_after_the_attacks_of_2001() -> None:
    sessions = sessions_between("2001-09-10", "2001-09-17", FEW_DAYS, "KO")
    assert sessions.strftime("%d").tolist() == ["10", "17"]


@pytest.mark.parametrize(
    ("last", "symbol", "expected"),
    [
        ("2024-03-28", "SPY", "2024-04-01"),  # Good Friday
        ("2024-03-28", "^GSPC", "2024-04-01"),
        ("2024-03-28", "BRK-B", "2024-04-01"),
        ("2024-03-28", "EURUSD=X", "2024-03-29"),
        ("2024-03-28", "SAP.DE", "2024-03-29"),
        ("2021-12-31", "AAPL", "2022-01-03"),
    ],
)
def test_next_session_of_daily_series(last: str, symbol: str, expected: str) -> None:
    index = pd.bdate_range(end=last, periods=8)
    assert next_session(index, symbol) == pd.Timestamp(expected)


def test_crypto_trades_at_the_weekend() -> None:
    index = pd.date_range("2024-01-01", "2024-03-29")  # ends on a Friday
    assert next_session(index, "BTC-USD") == pd.Timestamp("2024-03-30")
    assert not follows_new_york(index, "BTC-USD")


def test_dates_overrule_a_name_that_looks_american() -> None:
    every_weekday = pd.bdate_range("2020-01-01", "2023-12-29")
    assert not follows_new_york(every_weekday, "EUR")
    assert next_session(every_weekday, "EUR") == pd.Timestamp("2024-01-01")
    new_york = sessions_between("2020-01-02", "2023-12-29", FEW_DAYS, "SPY")
    assert follows_new_york(new_york, "my_prices")
    assert next_session(new_york, "my_prices") == pd.Timestamp("2024-01-02")


def test_week_from_sunday_to_thursday_is_seen() -> None:
    days = pd.date_range("2023-01-01", "2023-12-28")
    index = days[days.day_of_week.isin([6, 0, 1, 2, 3])]  # Tel Aviv
    assert next_session(index, "TEVA.TA") == pd.Timestamp("2023-12-31")


@pytest.mark.parametrize(
    ("index", "frequency", "expected"),
    [
        (pd.date_range("2020-01-01", periods=20, freq="MS"), "monthly", "2021-09-01"),
        (pd.date_range("2020-01-31", periods=20, freq="ME"), "monthly", "2021-09-30"),
        (pd.date_range("2020-01-31", periods=20, freq="BME"), "monthly", "2021-09-30"),
        (pd.date_range("2020-01-01", periods=20, freq="BMS"), "monthly", "2021-09-01"),
        (pd.DatetimeIndex(["2020-01-15", "2020-02-15", "2020-03-15"]), "monthly", "2020-04-15"),
        (pd.date_range("1951-04-01", periods=9, freq="QS"), "quarterly", "1953-07-01"),
        (pd.date_range("1951-03-31", periods=9, freq="QE"), "quarterly", "1953-06-30"),
        (pd.date_range("1951-01-01", periods=9, freq="YS"), "yearly", "1960-01-01"),
        (pd.date_range("2024-01-05", periods=9, freq="7D"), "weekly", "2024-03-08"),
        (pd.date_range("2024-01-01", periods=9, freq="15D"), "irregular", "2024-05-15"),
    ],
)
def test_slower_series_step_by_their_period(
    index: pd.DatetimeIndex, frequency: str, expected: str
) -> None:
    assert infer_frequency(index) == frequency
    assert next_session(index, "GDP") == pd.Timestamp(expected)


@settings(max_examples=60, deadline=None)
@given(st.dates(pd.Timestamp("1973-01-02").date(), pd.Timestamp("2080-01-01").date()))
def test_next_session_is_the_first_session_after_the_last(last: object) -> None:
    index = pd.bdate_range(end=last, periods=3)
    found = next_session(index, "SPY")
    later = sessions_between(index[-1], found, index, "SPY")
    assert later[-1] == found > index[-1]
    assert found - index[-1] <= pd.Timedelta(days=7)
    assert (later > index[-1]).sum() == 1


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2024-03-22 16:10", "2024-03-21"),
        ("2024-03-22 16:20", "2024-03-22"),
        ("2024-03-24 12:00", "2024-03-22"),
        ("2024-03-29 23:00", "2024-03-28"),  # Good Friday
    ],
)
def test_last_finished_session_in_new_york(now: str, expected: str) -> None:
    moment = pd.Timestamp(now, tz="America/New_York")
    assert last_finished_session(moment, FEW_DAYS, "SPY") == pd.Timestamp(expected)


def test_last_finished_session_elsewhere_is_yesterday_there() -> None:
    moment = pd.Timestamp("2024-03-22 20:00", tz="UTC")  # Saturday 05:00 in Tokyo
    found = last_finished_session(moment, FEW_DAYS, "7203.T", "Asia/Tokyo")
    assert found == pd.Timestamp("2024-03-22")
    assert last_finished_session(moment, FEW_DAYS, "SAP.DE") == pd.Timestamp("2024-03-21")


@pytest.mark.parametrize("index", [pd.RangeIndex(5), pd.DatetimeIndex(["2024-01-02"])])
def test_no_dates_no_session(index: pd.Index) -> None:
    with pytest.raises(InvalidInputError, match="DatetimeIndex of at least two dates"):
        next_session(index, "SPY")
