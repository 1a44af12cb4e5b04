"""Prices from CSV and parquet files with the column names that people really have."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.errors import BadFileError, InvalidInputError
from regimeslot.prices.checks import Finding
from regimeslot.prices.dates import parse_dates

__all__ = ["read_file"]

_DATE_NAMES = ("date", "datetime", "timestamp", "observationdate", "time", "day", "period", "month")
_ADJUSTED_NAMES = ("adjclose", "adjustedclose", "closeadj", "closeadjusted")
_CLOSE_NAMES = ("close", "closelast", "price", "last", "lastprice", "settle", "value", "nav")
_BAR_NAMES = {"open": "Open", "high": "High", "low": "Low", "volume": "Volume", "vol": "Volume"}
_NAMELESS = re.compile(r"|index|unnamed\d*|level\d+|indexlevel\d+")
_MISSING = frozenset(("", ".", "-", "na", "n/a", "#n/a", "nan", "null", "none", "nat"))
_PARQUET = (".parquet", ".pq")


def read_file(
    path: Path, *, column: str | None = None, ticker: str | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Read one series from a CSV or parquet file.

    The dates are in a column named date, datetime, timestamp or the like, in the index of a
    parquet file, or else in the first column. The close is ``column``; else the column named after
    the ticker; else an adjusted close; else close, price, value or the like; else the only numeric
    column. Where both a close and an adjusted close are there, open, high and low are multiplied
    by their ratio. Other columns are ignored.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.pq``; anything else is read as CSV (also compressed; comma, semicolon
        or tab).
    column : str, optional
        Name of the column to read.
    ticker : str, optional
        Name of the series.

    Returns
    -------
    frame : DataFrame
        Dates as index (NaT where empty) and float columns among ``Open High Low Close Volume``.
    findings : list of Finding

    Raises
    ------
    BadFileError
        If the file cannot be read, has no dates or no prices, or holds text where they should be.
    InvalidInputError
        If ``column`` is not in the file.
    """
    table, first_line = _read_table(path)
    if table.shape[1] < 2 or table.empty:
        raise BadFileError(
            f"{path} should hold a column of dates, a column of prices and rows below them; it has "
            f"{table.shape[1]} columns and {len(table)} rows."
        )
    reader = _Reader(path, table, first_line)
    date_column = reader.find_dates()
    dates = parse_dates(table[date_column], lambda row: reader.place(row, date_column))
    values, findings = reader.read_bars(date_column, column, ticker)
    return values.set_axis(dates, axis=0), findings


def _read_table(path: Path) -> tuple[pd.DataFrame, int | None]:
    """Return the cells, and the line of the first row for files that have lines."""
    try:
        if path.suffix.lower() in _PARQUET:
            table = pd.read_parquet(path)
            if not isinstance(table.index, pd.RangeIndex):
                table = table.reset_index()
            table.columns = [_flat(name) for name in table.columns]
            return table, None
        return _read_csv(path)
    except FileNotFoundError as error:
        raise BadFileError(f"There is no file {path}; check the path.") from error
    except (OSError, ValueError, EOFError) as error:  # pandas, pyarrow and zip errors are these
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFileError(
            f"{path} cannot be read as a table of prices ({reason}); give a CSV or parquet file."
        ) from error


def _read_csv(path: Path) -> tuple[pd.DataFrame, int]:
    top = _read_text(path, sep="\x00", names=["line"], nrows=20, quoting=csv.QUOTE_NONE)
    lines = top["line"].str.strip().tolist() or [""]
    above = next((row for row, line in enumerate(lines) if line), 0)
    separator = max(",;\t|", key=lines[above].count)
    table = _read_text(path, sep=separator, skiprows=above, index_col=False, skipinitialspace=True)
    if table.shape[1] < 2:
        return table, above + 2
    table.columns = [_flat(name) for name in table.columns]
    first_line = above + 2
    if _plain(table.columns[0]) == "price" and table.iloc[:2, 0].tolist() == ["Ticker", "Date"]:
        # Three header lines, as yfinance.download(...).to_csv() writes them.
        table = table.iloc[2:].rename(columns={table.columns[0]: "Date"})
        first_line += 2
    table = table.set_axis(pd.RangeIndex(len(table)), axis=0)
    if separator == ";":  # the separator of places that write 1.234,56
        for name in table.columns[1:]:
            if table[name].str.contains(",", regex=False).any():
                table[name] = table[name].str.replace(".", "").str.replace(",", ".", regex=False)
    blank = (table == "").all(axis=1)  # kept so far because they count as lines
    return table[~blank], first_line


def _read_text(path: Path, **layout: Any) -> pd.DataFrame:
    # Text throughout: only so can a message name the cell that is no number; and every line, the
    # blank ones too, so that it can name the line.
    table: pd.DataFrame = pd.read_csv(
        path,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        encoding="utf-8-sig",
        **layout,
    )
    return table


class _Reader:
    """Finds columns in a table and turns cells into numbers."""

    def __init__(self, path: Path, table: pd.DataFrame, first_line: int | None) -> None:
        self.path, self.table, self.first_line = path, table, first_line
        self.plain = {name: _plain(name) for name in table.columns}

    def place(self, row: int, column: str) -> str:
        """Say where a cell is; ``row`` counts from 0."""
        if self.first_line is None:
            return f"row {row + 1} of {self.path}, column {column!r}"
        return f"line {int(self.table.index[row]) + self.first_line} of {self.path}"

    def find_dates(self) -> str:
        for known in _DATE_NAMES:
            for name, plain in self.plain.items():
                if plain == known:
                    return name
        for name in self.table.columns:
            if isinstance(self.table[name].dtype, pd.DatetimeTZDtype) or (
                self.table[name].dtype.kind == "M"
            ):
                return name
        return str(self.table.columns[0])

    def read_bars(
        self, date_column: str, column: str | None, ticker: str | None
    ) -> tuple[pd.DataFrame, list[Finding]]:
        names = [name for name in self.table.columns if name != date_column]
        if column is not None:
            return pd.DataFrame({"Close": self.numbers(self._named(names, column))}), []
        own = [name for name in names if ticker and name.upper() == ticker.strip().upper()]
        if own:
            return pd.DataFrame({"Close": self.numbers(own[0])}), []

        adjusted = self._first(names, _ADJUSTED_NAMES)
        close = self._first(names, _CLOSE_NAMES)
        if adjusted is None and close is None:
            return pd.DataFrame({"Close": self.numbers(self._only_numeric(names))}), []
        bars = pd.DataFrame({"Close": self.numbers(adjusted or close or "")})
        for plain, target in _BAR_NAMES.items():
            name = self._first(names, (plain,))
            if name is not None and target not in bars:
                if target != "Volume":
                    bars[target] = self.numbers(name)
                elif (volume := self._volume(name)) is not None:
                    bars[target] = volume
        if adjusted is None:
            return bars, []
        return self._adjusted(bars, adjusted, close)

    def _adjusted(
        self, bars: pd.DataFrame, adjusted: str, close: str | None
    ) -> tuple[pd.DataFrame, list[Finding]]:
        ranges = [name for name in ("Open", "High", "Low") if name in bars]
        if close is None:
            if not ranges:
                return bars, []
            return bars.drop(columns=ranges), [
                Finding(
                    f"{self.path}: {', '.join(ranges)} left out: there is no unadjusted close to "
                    "adjust them by.",
                    warn=False,
                )
            ]
        unadjusted = self.numbers(close).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = bars["Close"].to_numpy() / unadjusted
        bars[ranges] = bars[ranges].mul(np.where(np.isfinite(factor), factor, np.nan), axis=0)
        return bars, [
            Finding(f"{self.path}: {adjusted!r} is used as the close, not {close!r}.", warn=False)
        ]

    def numbers(self, name: str) -> pd.Series:
        """Return a column as floats, NaN where a cell is empty; refuse text."""
        cells = self.table[name]
        if pd.api.types.is_numeric_dtype(cells.dtype):
            return cells.astype(float)
        text = cells.astype("string").fillna("").str.strip()
        values = _to_numbers(text)
        wrong = (values.isna() & ~text.str.lower().isin(_MISSING)).to_numpy(dtype=bool)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BadFileError(
                f"Expected a number in column {name!r}, got {str(text.iloc[row])!r} in "
                f"{self.place(row, name)}; correct it, or leave the cell empty."
            )
        return values

    def _volume(self, name: str) -> pd.Series | None:
        try:
            return self.numbers(name)
        except BadFileError:
            return None  # "1.2M": volume is never needed

    def _named(self, names: list[str], column: str) -> str:
        for same in (lambda name: name == column, lambda name: _plain(name) == _plain(column)):
            for name in names:
                if same(name):
                    return name
        raise InvalidInputError(
            f"{self.path} has no column {column!r}; it has {', '.join(map(repr, names))}."
        )

    def _first(self, names: list[str], known: tuple[str, ...]) -> str | None:
        for plain in known:
            for name in names:
                if self.plain[name] == plain:
                    return name
        return None

    def _only_numeric(self, names: list[str]) -> str:
        numeric = [name for name in names if self._mostly_numbers(name)]
        useful = [name for name in numeric if not _NAMELESS.fullmatch(self.plain[name])] or numeric
        if len(useful) == 1:
            return useful[0]
        found = ", ".join(map(repr, useful)) or "none"
        raise BadFileError(
            f"{self.path} has no column named Close, Adj Close, Price or Value, and not one "
            f"numeric column but {len(useful)} ({found}); name one with column=."
        )

    def _mostly_numbers(self, name: str) -> bool:
        cells = self.table[name]
        if pd.api.types.is_numeric_dtype(cells.dtype):
            return not pd.api.types.is_bool_dtype(cells.dtype)
        if cells.dtype.kind == "M":
            return False
        return bool(_to_numbers(cells.astype("string").str.strip()).notna().mean() > 0.5)


def _to_numbers(text: pd.Series) -> pd.Series:
    cells = text.to_numpy(dtype=object)
    values = pd.to_numeric(pd.Series(cells, index=text.index), errors="coerce").astype(float)
    odd = (values.isna() & ~text.str.lower().isin(_MISSING)).to_numpy(dtype=bool)
    if odd.any():  # "$1,234.50" is a number to whoever exported it
        bare = text[odd].str.replace(r"^[$€£]\s*", "", regex=True)
        grouped = bare.str.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?").to_numpy(dtype=bool)
        bare = bare.mask(grouped, bare.str.replace(",", "", regex=False))
        values[odd] = pd.to_numeric(bare.astype(object), errors="coerce").astype(float)
    return values


def _flat(name: object) -> str:
    # Parquet files of yf.download have ("Close", "SPY") as a column name.
    if isinstance(name, tuple):
        return str(next((part for part in name if str(part)), ""))
    return str(name).strip()


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
