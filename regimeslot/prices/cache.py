"""The cache of downloaded histories: one parquet file per symbol, replaced whole.

Yahoo rewrites a whole adjusted history at every dividend and split, so a cached history is never
topped up: a new download replaces it. A file is written under another name, flushed and renamed, so
that a reader, or a process killed at any moment, meets the old file or the new one and nothing in
between. The generation before is kept; one that lost rows or dividends is never kept in place of a
complete one.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from regimeslot.errors import BadFileError, PriceError
from regimeslot.prices.checks import name_days
from regimeslot.prices.sessions import infer_frequency, last_finished_session

__all__ = ["Cache", "Entry", "default_folder"]

_FORMAT = 1
_KEY = b"regimeslot"
_LOCK_SECONDS = 10.0
_MAX_LOSS = 0.05  # share of the held rows; more missing means a broken reply, not a correction


def default_folder() -> Path:
    """Return the folder named by ``REGIMESLOT_CACHE_DIR``, else the user's cache folder."""
    named = os.environ.get("REGIMESLOT_CACHE_DIR", "").strip()
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("regimeslot", appauthor=False)


@dataclass(frozen=True, eq=False)
class Entry:
    """A downloaded history and its provenance.

    Attributes
    ----------
    raw : DataFrame
        ``Open High Low Close`` (split-adjusted), ``Adj Close``, ``Volume``, ``Dividends``,
        ``Stock Splits``, as Yahoo sent them, on tz-naive dates.
    symbol : str
    fetched_at : datetime
        UTC.
    details : dict
        ``currency``, ``timezone`` of the exchange, ``instrument``, ``client`` version.
    lost : tuple of str
        What this download no longer had of the one before; empty for a complete one.
    """

    raw: pd.DataFrame
    symbol: str
    fetched_at: datetime
    details: dict[str, Any]
    lost: tuple[str, ...] = ()

    def is_fresh(self, now: datetime, max_age: timedelta) -> bool:
        """Tell whether a download would bring nothing new.

        It would not when the entry holds the last finished session. Where it does not (a holiday
        without a calendar, a delisted share, a source that is late), an entry counts as fresh for
        ``max_age`` if it was downloaded after that session had finished.
        """
        index = pd.DatetimeIndex(self.raw.index)
        if not timedelta(0) <= now - self.fetched_at:
            return False  # the clock was moved: the age means nothing
        if len(index) < 2 or infer_frequency(index) != "daily":
            return now - self.fetched_at < max_age
        due, then = (
            last_finished_session(
                pd.Timestamp(moment), index, self.symbol, self.details.get("timezone")
            )
            for moment in (now, self.fetched_at)
        )
        return bool(index[-1] >= due) or (then == due and now - self.fetched_at < max_age)


class Cache:
    """Histories in a folder.

    Parameters
    ----------
    folder : path
        Created on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, symbol: str, *, previous: bool = False) -> Path:
        """Return the file that holds ``symbol``, or the generation before it."""
        return self.folder / f"{quote(symbol, safe='')}{'.previous' if previous else ''}.parquet"

    def read(self, symbol: str, *, previous: bool = False) -> Entry | None:
        """Read one entry.

        Returns
        -------
        Entry or None
            None if there is none.

        Raises
        ------
        BadFileError
            If the file is damaged or was written by something else.
        """
        path = self.path(symbol, previous=previous)
        from pyarrow import ArrowException, parquet

        try:
            table = parquet.read_table(path)
            header = json.loads((table.schema.metadata or {})[_KEY])
            if header["format"] != _FORMAT or header["symbol"] != symbol:
                raise KeyError(f"format {header['format']} of {header['symbol']}")
            raw = table.to_pandas(ignore_metadata=True).set_index("Date")
            return Entry(
                raw=raw,
                symbol=symbol,
                fetched_at=datetime.fromisoformat(header["fetched_at"]),
                details=header["details"],
                lost=tuple(header["lost"]),
            )
        except FileNotFoundError:
            return None
        except (ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise BadFileError(
                f"The cached {symbol} in {path} cannot be read ({_short(error)}); "
                "delete the file, or download again with source='yahoo'."
            ) from error

    def write(self, entry: Entry) -> Entry:
        """Replace the entry of a symbol, keeping the complete generation before it.

        Returns
        -------
        Entry
            The entry as stored: with ``lost`` filled in where rows, dividends or splits of the
            last complete generation are missing from it.

        Raises
        ------
        PriceError
            If more than 5 % of the held rows are missing; nothing is replaced then.
        OSError
            If the folder cannot be written.
        """
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        current, kept = self.path(entry.symbol), self.path(entry.symbol, previous=True)
        with FileLock(f"{current}.lock", timeout=_LOCK_SECONDS):
            self._sweep(entry.symbol)
            held = self._readable(entry.symbol)
            if held is not None and held.lost:  # measure against the last complete one
                complete = self._readable(entry.symbol, previous=True)
            else:
                complete = held
            if complete is not None:
                entry = self._compare(entry, complete)
            if held is not None and not held.lost:
                self._put(held, kept)
            self._put(entry, current)
        return entry

    def _compare(self, entry: Entry, held: Entry) -> Entry:
        gone = held.raw.index.difference(entry.raw.index)
        if len(gone) > _MAX_LOSS * len(held.raw):
            raise PriceError(
                f"The download of {entry.symbol} lacks {len(gone)} of the {len(held.raw)} rows in "
                "the cache, which was left as it is; to accept the download, delete "
                f"{self.path(entry.symbol)}."
            )
        lost = [f"{len(gone)} rows ({name_days(gone)})"] if len(gone) else []
        for column, noun in (("Dividends", "dividends"), ("Stock Splits", "splits")):
            before, after = (
                frame.raw[column][frame.raw[column] > 0].index for frame in (held, entry)
            )
            missing = before.difference(after).difference(gone)
            if len(missing):
                lost.append(f"{len(missing)} {noun} ({name_days(missing)})")
        return Entry(entry.raw, entry.symbol, entry.fetched_at, entry.details, tuple(lost))

    def _readable(self, symbol: str, *, previous: bool = False) -> Entry | None:
        try:
            return self.read(symbol, previous=previous)
        except BadFileError:
            return None  # a damaged file is no reason to keep a good one out

    def _put(self, entry: Entry, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        header = {
            "format": _FORMAT,
            "symbol": entry.symbol,
            "source": "Yahoo Finance",
            "fetched_at": entry.fetched_at.astimezone(UTC).isoformat(),
            "details": entry.details,
            "lost": list(entry.lost),
        }
        table = pyarrow.Table.from_pandas(entry.raw.reset_index(names="Date"), preserve_index=False)
        table = table.replace_schema_metadata({_KEY: json.dumps(header, sort_keys=True).encode()})
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                parquet.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:  # Ctrl-C too must leave no litter
            Path(name).unlink(missing_ok=True)
            raise

    def _sweep(self, symbol: str) -> None:
        # Under the lock nobody else writes this symbol: what is there was left by a killed process.
        for path in (self.path(symbol), self.path(symbol, previous=True)):
            for leftover in self.folder.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)


def _short(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__
