"""What any price frame must pass, and what is worth a warning, whatever its source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from regimeslot.errors import PriceError, TooFewRowsError
from regimeslot.prices.frame import Kind
from regimeslot.prices.sessions import (
    CALENDAR_START,
    follows_new_york,
    infer_frequency,
    sessions_between,
)

__all__ = ["COLUMNS", "MIN_ROWS", "Finding", "inspect", "name_days", "tidy"]

COLUMNS = ("Open", "High", "Low", "Close", "Volume")
MIN_ROWS = 30

_BIG_MOVE = 0.5  # |log return|
_SPLITS = np.log([1.5, 2, 3, 4, 5, 10, 15, 20, 25, 50, 100])
_SPLIT_TOLERANCE = 0.005  # a day's own return rarely lets a split hit its ratio closer
_TOLERANCE = 1e-5  # relative: adjusted prices are rounded in most files
_SAME_CLOSES = 6  # this many in a row are rare enough in a traded series to be named
_LONG_GAP = 7  # weekdays: longer than any ordinary holiday of an exchange we have no calendar of


class Finding(NamedTuple):
    """One sentence about the data, and whether it deserves a warning."""

    sentence: str
    warn: bool = True


def tidy(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Sort by date, drop rows without a date or a close, and refuse duplicates and short series.

    Parameters
    ----------
    frame : DataFrame
        ``DatetimeIndex`` without time zone (NaT allowed) and a ``Close`` column.
    name : str
        What the messages call the series.

    Returns
    -------
    frame : DataFrame
        Sorted, unique, dated at midnight, columns in the order of :data:`COLUMNS`.
    findings : list of Finding

    Raises
    ------
    PriceError
        If a date comes twice, or bars are shorter than a day.
    TooFewRowsError
        If fewer than 30 rows are left.
    """
    findings = []
    stamps = pd.DatetimeIndex(frame.index).as_unit("us")
    frame = frame[[c for c in COLUMNS if c in frame]].astype(float).set_axis(stamps, axis=0)

    undated = np.asarray(stamps.isna())
    if undated.any():
        findings.append(Finding(f"{name}: {_rows(undated)} without a date dropped.", warn=False))
        frame = frame[~undated]
    empty = frame["Close"].isna().to_numpy()
    if empty.any():
        days = name_days(frame.index[empty])
        findings.append(
            Finding(f"{name}: {_rows(empty)} without a close dropped ({days}).", warn=False)
        )
        frame = frame[~empty]
    if not frame.index.is_monotonic_increasing:
        order = "newest row first" if frame.index.is_monotonic_decreasing else "rows out of order"
        findings.append(Finding(f"{name}: {order}; sorted by date.", warn=False))
        frame = frame.sort_index(kind="stable")

    days_only = pd.DatetimeIndex(frame.index).normalize()
    if days_only.has_duplicates and not frame.index.has_duplicates:
        raise PriceError(
            f"{name}: expected one row a day or slower, got several on "
            f"{name_days(days_only[days_only.duplicated()].unique())}; resample to daily closes."
        )
    if days_only.has_duplicates:
        raise PriceError(
            f"{name}: expected each date once, but {name_days(days_only[days_only.duplicated()])} "
            "came again; remove the rows that do not belong."
        )
    if len(frame) < MIN_ROWS:
        raise TooFewRowsError(
            f"{name}: expected at least {MIN_ROWS} rows with a date and a close, got {len(frame)}; "
            "use a longer series."
        )
    return frame.set_axis(days_only.rename("Date"), axis=0), findings


def inspect(
    frame: pd.DataFrame, *, name: str, symbol: str, kind: Kind
) -> tuple[pd.DataFrame, list[Finding]]:
    """Refuse values that no model should see, and say what looks wrong.

    Parameters
    ----------
    frame : DataFrame
        As :func:`tidy` returns it, possibly cut to a range.
    name : str
        What the messages call the series.
    symbol : str
        Decides the trading calendar where the dates cannot.
    kind : {"price", "series"}
        For ``series`` only finiteness is asked of the values.

    Returns
    -------
    frame : DataFrame
        With impossible opens, highs and lows replaced by NaN.
    findings : list of Finding

    Raises
    ------
    PriceError
        If a close is not finite or, for prices, not positive.
    """
    close = frame["Close"].to_numpy()
    infinite = ~np.isfinite(close)
    if infinite.any():
        raise PriceError(
            f"{name}: expected finite values, got {close[infinite][0]} on "
            f"{name_days(frame.index[infinite])}; correct or remove these rows."
        )
    if kind == "series":
        return frame, []
    if (close <= 0).any():
        bad = close <= 0
        raise PriceError(
            f"{name}: expected positive prices, got {close[bad][0]:g} on "
            f"{name_days(frame.index[bad])}; correct these rows, or load rates and the like "
            "with kind='series'."
        )
    frame, findings = _blank_impossible(frame, name)
    findings += _missing_sessions(frame, name, symbol)
    findings += _jumps(frame, name)
    findings += _inconsistent_bars(frame, name)
    findings += _stale_closes(frame, name)
    findings += _idle_days(frame, name)
    return frame, findings


def name_days(dates: pd.Index, limit: int = 3) -> str:
    """List the first few dates of many.

    Examples
    --------
    >>> name_days(pd.date_range("2024-01-01", periods=5))
    '2024-01-01, 2024-01-02, 2024-01-03 and 2 more'
    """
    text = ", ".join(f"{day:%Y-%m-%d}" for day in dates[:limit])
    return text if len(dates) <= limit else f"{text} and {len(dates) - limit} more"


def _blank_impossible(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[Finding]]:
    # Yahoo writes 0 for an open that it does not know; the close of such a row is good.
    findings = []
    frame = frame.copy()
    for column in ("Open", "High", "Low"):
        if column in frame:
            values = frame[column]
            bad = (~np.isfinite(values) | (values <= 0)).to_numpy()
            if bad.any():
                days = name_days(frame.index[bad])
                sentence = f"{name}: {_rows(bad)} without a usable {column} ({days})."
                findings.append(Finding(sentence, warn=False))
                frame.loc[bad, column] = np.nan
    return frame, findings


def _missing_sessions(frame: pd.DataFrame, name: str, symbol: str) -> list[Finding]:
    index = pd.DatetimeIndex(frame.index)
    if len(index) < 2 or infer_frequency(index) == "irregular":
        return []
    if follows_new_york(index, symbol):
        index = index[index >= CALENDAR_START]
        if len(index) < 2:
            return []
        missing = sessions_between(index[0], index[-1], index, symbol).difference(index)
        if missing.empty:
            return []
        count = f"{len(missing)} trading session{'s' if len(missing) > 1 else ''}"
        return [Finding(f"{name}: {count} missing ({name_days(missing)}).")]
    # Without a calendar a short gap may be a holiday. Periods, where bars are slower than days.
    steps = _steps_between(index)
    gaps = steps > (_LONG_GAP if infer_frequency(index) == "daily" else 1)
    if not gaps.any():
        return []
    row = int(np.argmax(steps))
    return [
        Finding(
            f"{name}: {int(gaps.sum())} gap{'s' if gaps.sum() > 1 else ''} in the dates, the "
            f"longest from {index[row]:%Y-%m-%d} to {index[row + 1]:%Y-%m-%d}."
        )
    ]


def _steps_between(index: pd.DatetimeIndex) -> np.ndarray:
    """Count the steps of the series' own frequency from each row to the next."""
    months = {"monthly": 1, "quarterly": 3, "yearly": 12}.get(infer_frequency(index))
    if months is not None:
        return np.round(np.diff(index.year * 12 + index.month) / months).astype(int)
    days = index.to_numpy("datetime64[D]")
    if infer_frequency(index) == "weekly":
        return np.round(np.diff(days).astype(int) / 7).astype(int)
    if np.mean(index.day_of_week >= 5) > 0.2:  # seven days a week
        return np.diff(days).astype(int)
    return np.busday_count(days[:-1], days[1:])


def _jumps(frame: pd.DataFrame, name: str) -> list[Finding]:
    returns = np.diff(np.log(frame["Close"].to_numpy()))
    size = np.abs(returns)
    like_split = (np.abs(size[:, None] - _SPLITS) < _SPLIT_TOLERANCE).any(axis=1)
    odd = np.flatnonzero((size > _BIG_MOVE) | like_split)
    if odd.size == 0:
        return []
    worst = odd[np.argmax(size[odd])]
    return [
        Finding(
            f"{name}: {odd.size} log return{'s' if odd.size > 1 else ''} beyond {_BIG_MOVE} or "
            f"near a split ratio (largest {returns[worst]:+.2f} on "
            f"{frame.index[worst + 1]:%Y-%m-%d}): a bad tick, an unadjusted split, or a real crash."
        )
    ]


def _inconsistent_bars(frame: pd.DataFrame, name: str) -> list[Finding]:
    if not {"High", "Low"} <= set(frame.columns):
        return []
    high, low, close = (frame[c].to_numpy() for c in ("High", "Low", "Close"))
    room = _TOLERANCE * close
    bad = (high < low - room) | (close > high + room) | (close < low - room)
    if not bad.any():
        return []
    return [
        Finding(
            f"{name}: {_rows(bad)} with a close outside its low and high, or a high below its low "
            f"({name_days(frame.index[bad])}); features of the daily range are off there."
        )
    ]


def _stale_closes(frame: pd.DataFrame, name: str) -> list[Finding]:
    close = frame["Close"].to_numpy()
    change = np.flatnonzero(np.r_[True, close[1:] != close[:-1], True])
    lengths = np.diff(change)
    if lengths.max() < _SAME_CLOSES:
        return []
    longest = int(np.argmax(lengths))
    runs = int((lengths >= _SAME_CLOSES).sum())
    return [
        Finding(
            f"{name}: {runs} run{'s' if runs > 1 else ''} of {_SAME_CLOSES} or more identical "
            f"closes (longest {lengths[longest]} rows from "
            f"{frame.index[change[longest]]:%Y-%m-%d}); check for filled-in prices."
        )
    ]


def _idle_days(frame: pd.DataFrame, name: str) -> list[Finding]:
    if "Volume" not in frame:
        return []
    volume = frame["Volume"].to_numpy()
    first = int(np.argmax(volume > 0))  # before it the source has no volume at all
    idle = volume[first:] == 0
    if not idle.any() or idle.mean() > 0.5:
        return []
    days = name_days(frame.index[first:][idle])
    return [Finding(f"{name}: {_rows(idle)} with zero volume ({days}).")]


def _rows(mask: np.ndarray) -> str:
    count = int(np.count_nonzero(mask))
    return f"{count} row{'s' if count != 1 else ''}"
