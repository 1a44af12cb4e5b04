"""Which bars can be known at a moment, and which sessions are over.

New York's hours are known, and days without a place end at midnight UTC. Elsewhere only the date is
known: a bar counts as finished from its own day on (UTC), and its session as over the day after.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from regimeslot.prices import infer_frequency
from regimeslot.prices.sessions import follows_new_york, last_finished_session

__all__ = ["is_over", "usable_until"]

_PERIODS = {"monthly": "M", "quarterly": "Q", "yearly": "Y"}
_WEEK_STARTS = (0, 6)  # Monday and Sunday: weekly bars dated by them cover the days after


def usable_until(now: datetime, index: pd.DatetimeIndex, symbol: str = "") -> pd.Timestamp:
    """Date of the latest bar that may be taken as final at ``now``.

    Parameters
    ----------
    now : datetime
        With a time zone.
    index : DatetimeIndex
        Dates of known bars: they show the frequency and the week.
    symbol : str
        Yahoo symbol.

    Examples
    --------
    >>> days = pd.bdate_range("2024-03-11", "2024-03-22")
    >>> noon = datetime(2024, 3, 25, 12, tzinfo=UTC)
    >>> usable_until(noon, days, "SPY"), usable_until(noon, days, "SAP.DE")
    (Timestamp('2024-03-22 00:00:00'), Timestamp('2024-03-25 00:00:00'))
    """
    if _clock_known(index, symbol):
        return last_finished_session(pd.Timestamp(now), index, symbol)
    return _today(now)


def is_over(date: pd.Timestamp, now: datetime, index: pd.DatetimeIndex, symbol: str = "") -> bool:
    """Tell whether the session or period of a bar has ended at ``now``.

    Parameters
    ----------
    date : Timestamp
        Of the bar; a month dated by its first day ends with its last.
    now, index, symbol
        As in :func:`usable_until`.

    Examples
    --------
    >>> days = pd.bdate_range("2024-03-11", "2024-03-22")
    >>> is_over(days[-1], datetime(2024, 3, 22, 20, 30, tzinfo=UTC), days, "SPY")
    True
    """
    if _clock_known(index, symbol):
        return bool(date <= last_finished_session(pd.Timestamp(now), index, symbol))
    frequency, end = infer_frequency(index), date
    if frequency in _PERIODS:
        end = max(date, date.to_period(_PERIODS[frequency]).end_time.normalize())
    elif frequency == "weekly" and date.day_of_week in _WEEK_STARTS:
        end = date + pd.Timedelta(days=6)
    return bool(end < _today(now))


def _clock_known(index: pd.DatetimeIndex, symbol: str) -> bool:
    if infer_frequency(index) != "daily":
        return False
    every_day = (index[-260:].day_of_week >= 5).mean() > 0.2
    return bool(every_day) or follows_new_york(index, symbol)


def _today(now: datetime) -> pd.Timestamp:
    return pd.Timestamp(now.astimezone(UTC).date())
