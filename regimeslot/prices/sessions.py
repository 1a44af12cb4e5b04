"""Trading sessions: which day comes after the last bar, and which days are missing.

Daily US series follow the New York Stock Exchange from 1972 on: the regular holidays as pandas
rules, the irregular closures as a table. Any other daily series follows the week that its own dates
show (seven days for crypto, Monday to Friday for most exchanges and for currencies); its holidays
are unknown. Slower series step by their own period.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USMartinLutherKingJr,
    USMemorialDay,
    USPresidentsDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)
from pandas.tseries.offsets import CustomBusinessDay

from regimeslot.errors import InvalidInputError

__all__ = [
    "CALENDAR_START",
    "Frequency",
    "follows_new_york",
    "infer_frequency",
    "last_finished_session",
    "next_session",
    "sessions_between",
]

Frequency = Literal["daily", "weekly", "monthly", "quarterly", "yearly", "irregular"]

CALENDAR_START = pd.Timestamp("1972-01-01")
_CALENDAR_END = pd.Timestamp("2099-12-31")

# Days on which the exchange stayed shut outside its regular holidays.
_IRREGULAR_CLOSURES = (
    "1972-11-07",  # presidential election
    "1972-12-28",  # mourning for Truman
    "1973-01-25",  # mourning for Johnson
    "1976-11-02",  # presidential election
    "1977-07-14",  # blackout in New York
    "1980-11-04",  # presidential election
    "1985-09-27",  # hurricane Gloria
    "1994-04-27",  # mourning for Nixon
    "2001-09-11",  # attacks on the World Trade Center
    "2001-09-12",
    "2001-09-13",
    "2001-09-14",
    "2004-06-11",  # mourning for Reagan
    "2007-01-02",  # mourning for Ford
    "2012-10-29",  # hurricane Sandy
    "2012-10-30",
    "2018-12-05",  # mourning for G. H. W. Bush
    "2025-01-09",  # mourning for Carter
)

_US_INDICES = frozenset(
    {"^GSPC", "^SPX", "^SP500TR", "^OEX", "^MID", "^DJI", "^DJT", "^DJU", "^IXIC", "^NDX", "^NYA"}
    | {"^XAX", "^RUT", "^RUI", "^RUA", "^W5000", "^SOX", "^XAU", "^VIX", "^VXN"}
)
_US_STOCK = re.compile(r"[A-Z]{1,5}(-[A-Z]{1,2})?")
_FINISHED_AFTER = pd.Timedelta("16:15:00")  # New York time: the close and the closing auction
_ENOUGH_CLOSURES = 8  # about a year of holidays
_RECENT = 260  # rows that decide what the week of a series looks like

# The median gap in days, and the period it stands for; the bounds leave room for holidays.
_PERIODS: tuple[tuple[float, float, Frequency], ...] = (
    (0.5, 4.0, "daily"),
    (5.0, 9.0, "weekly"),
    (27.0, 32.0, "monthly"),
    (88.0, 94.0, "quarterly"),
    (360.0, 370.0, "yearly"),
)
_MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}


class _NewYorkHolidays(AbstractHolidayCalendar):
    # New Year's Day on a Saturday is not made up for: that Friday closes the year's books.
    rules = [  # noqa: RUF012 - pandas reads a plain list
        Holiday("New Year's Day", month=1, day=1, observance=sunday_to_monday),
        Holiday(
            "Martin Luther King Day",
            month=1,
            day=1,
            offset=USMartinLutherKingJr.offset,
            start_date=pd.Timestamp("1998-01-01"),
        ),
        USPresidentsDay,
        GoodFriday,
        USMemorialDay,
        Holiday(
            "Juneteenth",
            month=6,
            day=19,
            start_date=pd.Timestamp("2022-01-01"),
            observance=nearest_workday,
        ),
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        USThanksgivingDay,
        Holiday("Christmas Day", month=12, day=25, observance=nearest_workday),
    ]


def infer_frequency(index: pd.Index) -> Frequency:
    """Name the step of a date index from the median gap of its last rows.

    Parameters
    ----------
    index : DatetimeIndex
        Sorted dates, at least two.

    Returns
    -------
    {"daily", "weekly", "monthly", "quarterly", "yearly", "irregular"}

    Raises
    ------
    InvalidInputError
        If the index is not made of dates, or has fewer than two.

    Examples
    --------
    >>> infer_frequency(pd.date_range("2024-01-01", periods=20, freq="MS"))
    'monthly'
    """
    dates = _dates(index)
    gap = _median_gap(dates)
    for low, high, name in _PERIODS:
        if low <= gap <= high:
            return name
    return "irregular"


def next_session(index: pd.Index, symbol: str = "") -> pd.Timestamp:
    """Return the date of the first bar after the last one of ``index``.

    Parameters
    ----------
    index : DatetimeIndex
        Dates of the bars so far, sorted, at least two.
    symbol : str
        Yahoo symbol; it decides between New York and a plain week when the dates are too few to
        tell.

    Returns
    -------
    Timestamp
        The next session (daily), or the next period in the style of the index: first or last day,
        or first or last weekday, of the month (monthly, quarterly, yearly), the same weekday
        (weekly), the median gap later (irregular).

    Raises
    ------
    InvalidInputError
        If the index is not made of dates, or has fewer than two.

    Examples
    --------
    >>> next_session(pd.bdate_range("2024-03-18", "2024-03-28"), "SPY")  # Good Friday follows
    Timestamp('2024-04-01 00:00:00')
    >>> next_session(pd.date_range("2024-03-18", "2024-03-29"), "BTC-USD")
    Timestamp('2024-03-30 00:00:00')
    """
    dates = _dates(index)
    return (dates[-1] + _step(dates, symbol)).as_unit("us")


def sessions_between(
    start: str | pd.Timestamp, end: str | pd.Timestamp, index: pd.Index, symbol: str = ""
) -> pd.DatetimeIndex:
    """Return the dates on which bars are expected from ``start`` to ``end``, both included.

    Parameters
    ----------
    start, end : date
        Slower series step from ``start``, so it should be one of their dates.
    index : DatetimeIndex
        Dates of known bars: they show the frequency and the week.
    symbol : str
        As in :func:`next_session`.

    Returns
    -------
    DatetimeIndex

    Raises
    ------
    InvalidInputError
        If the index is not made of dates, or has fewer than two.

    Examples
    --------
    >>> known = pd.bdate_range("2021-11-01", "2021-11-24")
    >>> sessions_between("2021-11-24", "2021-11-30", known, "SPY").strftime("%a %d").tolist()
    ['Wed 24', 'Fri 26', 'Mon 29', 'Tue 30']
    """
    dates = _dates(index)
    return pd.date_range(start, end, freq=_step(dates, symbol), name="Date").as_unit("us")


def follows_new_york(index: pd.Index, symbol: str = "") -> bool:
    """Tell whether a daily series keeps the holidays of the New York Stock Exchange.

    The dates decide where the last rows span a year of holidays (at most a tenth of them traded);
    the symbol decides otherwise.

    Examples
    --------
    >>> follows_new_york(pd.bdate_range("2020-01-01", "2021-12-31"), "EURUSD=X")
    False
    """
    dates = _dates(index)[-_RECENT:]
    if infer_frequency(dates) != "daily" or np.mean(dates.day_of_week >= 5) > 0.01:
        return False
    closures = _new_york_closures()
    closures = closures[(closures >= dates[0]) & (closures <= dates[-1])]
    traded = int(closures.isin(dates).sum())
    if len(closures) >= _ENOUGH_CLOSURES:
        return traded <= 0.1 * len(closures)
    symbol = symbol.upper()
    if symbol in _US_INDICES:
        return True
    return traded == 0 and bool(_US_STOCK.fullmatch(symbol))


def last_finished_session(
    now: pd.Timestamp, index: pd.Index, symbol: str = "", timezone: str | None = None
) -> pd.Timestamp:
    """Return the date of the latest bar that should exist at ``now`` for a daily series.

    New York counts as finished at 16:15 local time; any other place only when its day is over.

    Parameters
    ----------
    now : Timestamp
        With a time zone.
    index, symbol
        As in :func:`next_session`.
    timezone : str, optional
        Of the exchange, an IANA name; UTC by default. Unused for New York.

    Examples
    --------
    >>> known = pd.bdate_range("2024-03-18", "2024-03-22")
    >>> last_finished_session(pd.Timestamp("2024-03-25 10:00", tz="America/New_York"), known, "SPY")
    Timestamp('2024-03-22 00:00:00')
    """
    new_york = follows_new_york(index, symbol)
    local = now.tz_convert("America/New_York" if new_york else timezone or "UTC")
    today = local.tz_localize(None).normalize()
    finished = new_york and local.tz_localize(None) - today >= _FINISHED_AFTER
    day = today if finished else today - pd.Timedelta(days=1)
    step = _step(_dates(index), symbol)
    return (step.rollback(day) if isinstance(step, CustomBusinessDay) else day).as_unit("us")


def _step(dates: pd.DatetimeIndex, symbol: str) -> pd.tseries.offsets.BaseOffset:
    """Return the offset that leads from one bar to the next."""
    frequency = infer_frequency(dates)
    if frequency == "daily":
        if follows_new_york(dates, symbol):
            return _trading_day("Mon Tue Wed Thu Fri", True)
        return _trading_day(_week(dates), False)
    if frequency == "weekly":
        return pd.DateOffset(weeks=1)
    if frequency == "irregular":
        return pd.DateOffset(seconds=round(_median_gap(dates) * 86400))
    months = _MONTHS[frequency]
    if dates.is_month_start.all():
        return pd.offsets.MonthBegin(months)
    if dates.is_month_end.all():
        return pd.offsets.MonthEnd(months)
    if (dates == dates + pd.offsets.BMonthEnd(0)).all():
        return pd.offsets.BMonthEnd(months)
    if (dates == dates + pd.offsets.BMonthBegin(0)).all():
        return pd.offsets.BMonthBegin(months)
    return pd.DateOffset(months=months)


def _week(dates: pd.DatetimeIndex) -> str:
    """Return the weekdays that recent bars fall on, as a pandas week mask."""
    counts = np.bincount(dates[-_RECENT:].day_of_week, minlength=7)
    names = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    if counts.sum() < 21:  # too short to see every day of the week
        return " ".join(names if counts[5:].any() else names[:5])
    return " ".join(names[counts >= 0.25 * counts.max()])


@lru_cache(maxsize=16)
def _trading_day(week: str, new_york: bool) -> CustomBusinessDay:
    holidays = list(_new_york_closures().to_numpy("datetime64[D]")) if new_york else []
    return CustomBusinessDay(weekmask=week, holidays=holidays)


@lru_cache(maxsize=1)
def _new_york_closures() -> pd.DatetimeIndex:
    holidays = _NewYorkHolidays().holidays(CALENDAR_START, _CALENDAR_END)
    return pd.DatetimeIndex(holidays).union(pd.DatetimeIndex(_IRREGULAR_CLOSURES))


def _median_gap(dates: pd.DatetimeIndex) -> float:
    gaps = np.diff(dates[-_RECENT:].to_numpy("datetime64[s]")).astype(np.int64)
    return float(np.median(gaps)) / 86400


def _dates(index: pd.Index) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        kind = f"{type(index).__name__} of {len(index)} rows"
        raise InvalidInputError(
            f"Expected a DatetimeIndex of at least two dates, got {kind}; pass the index of Prices."
        )
    return index.tz_localize(None) if index.tz is not None else index
