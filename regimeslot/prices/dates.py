"""Dates of a file, in the forms that exports come in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from regimeslot.errors import BadFileError

__all__ = ["parse_dates"]

# Tried in order; the first that reads every cell wins. Formats with a bare number for the month
# stand apart, because 03/04/2020 is two different days.
_FORMATS = (
    "ISO8601",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %B %Y",
    "%b %Y",
    "%B %Y",
    "%Y/%m/%d %H:%M:%S",
)
_MONTH_OR_DAY_FIRST = (
    ("%m/%d/%Y", "%d/%m/%Y"),
    ("%m-%d-%Y", "%d-%m-%Y"),
    ("%m/%d/%y", "%d/%m/%y"),
    ("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
)
_EPOCH_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (np.inf, "ns"))


def parse_dates(cells: pd.Series, place: Callable[[int], str]) -> pd.DatetimeIndex:
    """Turn a column into dates without a time zone: the day as the file writes it.

    Numbers are years (1000 to 2999), days as ``20201231``, or seconds, milliseconds,
    microseconds or nanoseconds since 1970 (UTC). A time-zone offset is cut off, not applied:
    ``2020-01-02 00:00:00-05:00`` is 2020-01-02.

    Parameters
    ----------
    cells : Series
        Text, numbers or timestamps; empty cells become NaT.
    place : callable
        Turns a row number into words for a message.

    Returns
    -------
    DatetimeIndex

    Raises
    ------
    BadFileError
        If a cell is no date (its place and text are named), or if every cell can be read both as
        month/day and as day/month.

    Examples
    --------
    >>> parse_dates(pd.Series(["1951Q2", "1951Q3"]), str).strftime("%Y-%m-%d").tolist()
    ['1951-04-01', '1951-07-01']
    """
    if isinstance(cells.dtype, pd.DatetimeTZDtype) or cells.dtype.kind == "M":
        return _wall(pd.DatetimeIndex(cells))
    if isinstance(cells.dtype, pd.PeriodDtype):
        return _wall(pd.PeriodIndex(cells).to_timestamp())
    text = cells.astype("string").fillna("").str.strip()
    empty = text.str.lower().isin(["", "nan", "nat", "none", "null"]).to_numpy(dtype=bool)
    filled = text[~empty]
    if filled.empty:
        raise BadFileError(f"Expected dates, got only empty cells from {place(0)} on.")

    numbers = pd.to_numeric(filled.astype(object), errors="coerce").to_numpy(float)
    parsed = (
        _from_numbers(numbers)
        if np.isfinite(numbers).all()
        else _from_text(filled, np.flatnonzero(~empty), place)
    )
    result = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[us]")
    result[~empty] = parsed.to_numpy(dtype="datetime64[us]")
    return pd.DatetimeIndex(result)


def _from_numbers(numbers: np.ndarray) -> pd.DatetimeIndex:
    whole = bool((numbers == np.round(numbers)).all())
    if whole and ((numbers >= 1000) & (numbers < 3000)).all():
        return pd.DatetimeIndex([pd.Timestamp(int(year), 1, 1) for year in numbers])
    if whole and ((numbers >= 10000101) & (numbers <= 29991231)).all():
        days = pd.to_datetime(
            pd.Series(numbers.astype(np.int64).astype(str)), format="%Y%m%d", errors="coerce"
        )
        if days.notna().all():
            return pd.DatetimeIndex(days)
    size = float(np.median(np.abs(numbers)))
    unit = next(unit for limit, unit in _EPOCH_UNITS if size < limit)
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    microseconds = np.round(numbers * (1e6 / per_second)).astype(np.int64)
    return pd.DatetimeIndex(microseconds.view("datetime64[us]"))


def _from_text(text: pd.Series, rows: np.ndarray, place: Callable[[int], str]) -> pd.DatetimeIndex:
    plain = _try(text, "%Y-%m-%d")
    if plain.notna().all():
        return pd.DatetimeIndex(plain)
    # The offset says where the exchange is; the day is the one that is written.
    text = text.str.replace(
        r"(\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(?:Z|[+-]\d{2}:?\d{2})$", r"\1", regex=True
    )
    quarters = text.str.extract(r"^(\d{4})[-: ]?[Qq]([1-4])$")
    if quarters.notna().all(axis=None):
        months = quarters[1].astype(int) * 3 - 2
        return pd.DatetimeIndex(
            pd.to_datetime(
                pd.DataFrame({"year": quarters[0].astype(int), "month": months, "day": 1})
            )
        )
    best: pd.Series | None = None
    for style in _FORMATS:
        parsed = _try(text, style)
        if parsed.notna().all():
            return pd.DatetimeIndex(parsed)
        if best is None or parsed.notna().sum() > best.notna().sum():
            best = parsed
    for month_first, day_first in _MONTH_OR_DAY_FIRST:
        readings = [_try(text, style) for style in (month_first, day_first)]
        complete = [reading for reading in readings if reading.notna().all()]
        if len(complete) == 2 and not complete[0].equals(complete[1]):
            return _the_sorted_one(complete, text, int(rows[0]), place)
        if complete:
            return pd.DatetimeIndex(complete[0])
        for reading in readings:
            if best is None or reading.notna().sum() > best.notna().sum():
                best = reading
    wrong = 0 if best is None else int(np.argmax(best.isna().to_numpy()))
    raise BadFileError(
        f"Expected a date, got {str(text.iloc[wrong])!r} in {place(int(rows[wrong]))}; write dates "
        "as 2020-12-31."
    )


def _the_sorted_one(
    readings: list[pd.Series], text: pd.Series, row: int, place: Callable[[int], str]
) -> pd.DatetimeIndex:
    ordered = [
        reading
        for reading in readings
        if reading.is_monotonic_increasing or reading.is_monotonic_decreasing
    ]
    if len(ordered) != 1:
        raise BadFileError(
            f"Dates such as {str(text.iloc[0])!r} in {place(row)} can be read as month/day and as "
            "day/month; write them as 2020-12-31."
        )
    return pd.DatetimeIndex(ordered[0])


def _try(text: pd.Series, style: str) -> pd.Series:
    return pd.to_datetime(text, format=style, errors="coerce")


def _wall(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return dates.tz_localize(None).as_unit("us")
