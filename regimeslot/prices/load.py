"""One entry to every source of prices."""

from __future__ import annotations

import re
import threading
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from regimeslot.errors import (
    BadFileError,
    DataError,
    DataWarning,
    InvalidInputError,
    UnknownTickerError,
)
from regimeslot.prices.bundled import bundled_symbols, read_bundled, resolve
from regimeslot.prices.cache import Cache, Entry, default_folder
from regimeslot.prices.checks import Finding, inspect, tidy
from regimeslot.prices.frame import Kind, Prices

__all__ = ["Source", "load_prices"]

Source = Literal["auto", "yahoo", "cache", "file", "bundled"]

_SOURCES = ("auto", "yahoo", "cache", "file", "bundled")
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9^.=&_-]{0,31}")


def load_prices(
    ticker: str | None = None,
    *,
    source: Source = "auto",
    file: str | PathLike[str] | None = None,
    start: str | datetime | None = None,
    end: str | datetime | None = None,
    kind: Kind = "price",
    column: str | None = None,
    max_age: str | timedelta = "4h",
    cache_dir: str | PathLike[str] | None = None,
    timeout: float = 30.0,
) -> Prices:
    """Load one checked price series.

    Parameters
    ----------
    ticker : str, optional
        Yahoo symbol (``SPY``, ``^GSPC``, ``BTC-USD``). With ``file`` it is only a name, and the
        file's name by default; if it is a column of the file, that column is read.
    source : {"auto", "yahoo", "cache", "file", "bundled"}
        ``auto`` takes a fresh cache, else Yahoo, else a stale cache with a warning, else the
        bundled snapshot where it holds the series (``SPY`` is served by ``^GSPC``) with a warning.
        The others ask for one alone; ``yahoo`` always downloads.
    file : path, optional
        CSV or parquet file; ``source`` is then ``file``.
    start, end : date, optional
        First and last day to keep.
    kind : {"price", "series"}
        ``series`` for values that are not prices (rates, unemployment): zero and negative values
        are allowed, and only the index, finiteness and the number of rows are checked.
    column : str, optional
        Column of the file to read as the close; found by name otherwise.
    max_age : str or timedelta
        A cached history is fresh when it holds the last finished session. Where it does not, it
        still counts as fresh this long, if it was downloaded after that session had finished.
    cache_dir : path, optional
        Default: ``REGIMESLOT_CACHE_DIR``, else the user's cache folder.
    timeout : float
        Seconds for a whole download.

    Returns
    -------
    Prices
        Adjusted bars with their provenance.

    Raises
    ------
    InvalidInputError
        If an argument makes no sense, or ``start`` is after ``end``.
    UnknownTickerError
        If the source does not hold the symbol.
    NetworkError
        If Yahoo cannot be reached and nothing else holds the symbol.
    BadFileError
        If a file cannot be read as prices; the line and the text are named.
    PriceError
        If dates repeat, or closes are not finite and positive.
    TooFewRowsError
        If the source has fewer than 30 rows.
    DataError
        If no row lies between ``start`` and ``end``.

    Warns
    -----
    DataWarning
        For every fallback and every finding to look at; each is also in ``Prices.notes``.

    Examples
    --------
    >>> from regimeslot.prices import load_prices
    >>> load_prices("^GSPC", source="bundled", start="2000-01-01")
    Prices(^GSPC, 5785 rows, 2000-01-03 to 2022-12-28, from bundled)
    """
    first, last = _range(start, end)
    source = _check_source(source, file)
    if kind not in ("price", "series"):
        raise InvalidInputError(f"kind must be 'price' or 'series', got {kind!r}.")
    if not 0 < timeout < threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout must be positive, in seconds, got {timeout!r}.")

    if file is not None:
        loaded = _from_file(ticker, file, column)
    else:
        if column is not None:
            raise InvalidInputError("column names a column of a file; pass file= as well.")
        symbol = _check_ticker(ticker)
        cache = Cache(Path(cache_dir).expanduser() if cache_dir else default_folder())
        if source == "bundled":
            loaded = _from_bundled(symbol)
        elif source == "cache":
            loaded = _from_cache(cache, symbol, _age(max_age))
        elif source == "yahoo":
            loaded = _from_yahoo(cache, symbol, kind, timeout)
        else:
            loaded = _from_anywhere(cache, symbol, kind, timeout, _age(max_age))
        loaded.ticker = str(ticker).strip()
    return _finish(loaded, kind, first, last)


class _Loaded:
    """A frame on its way to :class:`Prices`."""

    def __init__(
        self,
        frame: pd.DataFrame,
        symbol: str,
        source: str,
        as_of: datetime,
        findings: list[Finding],
        proxy_for: str | None = None,
    ) -> None:
        self.frame, self.symbol, self.source, self.as_of = frame, symbol, source, as_of
        self.findings, self.proxy_for, self.ticker = findings, proxy_for, symbol


def _finish(
    loaded: _Loaded, kind: Kind, first: pd.Timestamp | None, last: pd.Timestamp | None
) -> Prices:
    name = loaded.symbol
    frame, findings = tidy(loaded.frame, name)
    whole = f"{frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}"
    frame = frame.loc[first:last]
    if frame.empty:
        bounds = " ".join(
            f"{word} {day:%Y-%m-%d}" for word, day in (("from", first), ("to", last)) if day
        )
        raise DataError(f"{name} has no rows {bounds}: it holds {whole}; choose dates within.")
    frame, more = inspect(frame, name=name, symbol=loaded.symbol, kind=kind)
    findings = loaded.findings + findings + more
    for finding in findings:
        if finding.warn:
            warnings.warn(finding.sentence, DataWarning, stacklevel=3)
    return Prices(
        frame=frame,
        ticker=loaded.ticker,
        symbol=loaded.symbol,
        source=loaded.source,
        as_of=loaded.as_of,
        notes=tuple(finding.sentence for finding in findings),
        proxy_for=loaded.proxy_for,
        kind=kind,
    )


def _from_anywhere(
    cache: Cache, symbol: str, kind: Kind, timeout: float, max_age: timedelta
) -> _Loaded:
    findings: list[Finding] = []
    held: Entry | None = None
    try:
        held = cache.read(symbol)
    except BadFileError as error:
        findings.append(Finding(str(error)))
    if held is not None and held.is_fresh(_now(), max_age):
        return _loaded(cache, held, "cache", findings)
    try:
        loaded = _from_yahoo(cache, symbol, kind, timeout)
    except DataError as error:
        failure = error
    else:
        loaded.findings = findings + loaded.findings
        return loaded

    if held is not None:
        findings.append(Finding(f"{failure} {_stale(held)}"))
        return _loaded(cache, held, "cache", findings)
    if resolve(symbol) is not None:
        loaded = _from_bundled(symbol)
        findings.append(
            Finding(
                f"{failure} The bundled snapshot is used instead; it ends on "
                f"{loaded.frame.index[-1]:%Y-%m-%d}."
            )
        )
        loaded.findings = findings + loaded.findings
        return loaded
    raise type(failure)(
        f"{failure} There is no cached {symbol} either: pass your own prices with file=, or take "
        f"one of the bundled series with source='bundled' ({', '.join(bundled_symbols()[:4])}, "
        "...)."
    ) from failure


def _from_yahoo(cache: Cache, symbol: str, kind: Kind, timeout: float) -> _Loaded:
    from filelock import Timeout

    from regimeslot.prices.yahoo import adjust, download

    entry = download(symbol, timeout=timeout, state_dir=cache.folder / "yfinance")
    frame, _ = adjust(entry.raw, symbol)
    inspect(tidy(frame, symbol)[0], name=symbol, symbol=symbol, kind=kind)  # keep bad prices out
    trouble: list[Finding] = []
    try:
        entry = cache.write(entry)
    except (OSError, Timeout) as error:
        trouble.append(
            Finding(f"The download of {symbol} could not be cached in {cache.folder} ({error}).")
        )
    return _loaded(cache, entry, "yahoo", trouble)


def _from_cache(cache: Cache, symbol: str, max_age: timedelta) -> _Loaded:
    held = cache.read(symbol)
    if held is None:
        raise UnknownTickerError(
            f"The cache in {cache.folder} has no {symbol}; download it with source='yahoo'."
        )
    findings = [] if held.is_fresh(_now(), max_age) else [Finding(_stale(held))]
    return _loaded(cache, held, "cache", findings)


def _from_bundled(symbol: str) -> _Loaded:
    frame = read_bundled(symbol)
    held = resolve(symbol) or symbol
    findings = []
    if held != symbol:
        findings.append(
            Finding(
                f"{symbol} is not bundled; {held}, the index it tracks, stands in for it (without "
                "dividends)."
            )
        )
    last_day = pd.Timestamp(frame.index[-1]).to_pydatetime().replace(tzinfo=UTC)
    return _Loaded(
        frame, held, "bundled", last_day, findings, proxy_for=symbol if held != symbol else None
    )


def _from_file(ticker: str | None, file: str | PathLike[str], column: str | None) -> _Loaded:
    from regimeslot.prices.file import read_file

    path = Path(file).expanduser()
    frame, findings = read_file(path, column=column, ticker=ticker)
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    stem = path.name.split(".")[0] or path.name
    return _Loaded(frame, ticker or stem, "file", changed, findings)


def _loaded(cache: Cache, entry: Entry, source: str, findings: list[Finding]) -> _Loaded:
    from regimeslot.prices.yahoo import adjust

    frame, more = adjust(entry.raw, entry.symbol)
    if entry.lost:
        previous = cache.path(entry.symbol, previous=True)
        sentence = (
            f"The download of {entry.symbol} lacks {' and '.join(entry.lost)} that an earlier one "
            f"had; the earlier one is kept in {previous} (delete it to accept the loss)."
        )
        more.append(Finding(sentence, warn=source == "yahoo"))
    return _Loaded(frame, entry.symbol, source, entry.fetched_at, findings + more)


def _stale(held: Entry) -> str:
    return (
        f"The cached {held.symbol} of {held.fetched_at:%Y-%m-%d %H:%M} UTC is used; it ends on "
        f"{held.raw.index[-1]:%Y-%m-%d}."
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _check_source(source: Source, file: object) -> Source:
    if source not in _SOURCES:
        raise InvalidInputError(f"source must be one of {', '.join(_SOURCES)}, got {source!r}.")
    if file is not None and source not in ("auto", "file"):
        raise InvalidInputError(f"file= goes with source='file', got source={source!r}.")
    if file is None and source == "file":
        raise InvalidInputError("source='file' needs the path of the file in file=.")
    return source


def _check_ticker(ticker: str | None) -> str:
    symbol = (ticker or "").strip().upper()
    if not _SYMBOL.fullmatch(symbol):
        raise InvalidInputError(
            f"Expected a ticker such as SPY, ^GSPC or BTC-USD, got {ticker!r}; for a file pass "
            "file=."
        )
    return symbol


def _age(max_age: str | timedelta) -> timedelta:
    age: Any = pd.NaT
    # A bare number would be nanoseconds to pandas.
    with suppress(ValueError):
        age = pd.Timedelta(max_age) if isinstance(max_age, str | timedelta) else pd.NaT
    if age is pd.NaT:
        raise InvalidInputError(
            f"max_age must be a duration such as '4h' or '2 days', got {max_age!r}."
        )
    length: timedelta = age.to_pytimedelta()
    return length


def _range(
    start: str | datetime | None, end: str | datetime | None
) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    days = []
    for name, value in (("start", start), ("end", end)):
        day: Any = pd.NaT
        with suppress(ValueError, TypeError):
            day = None if value is None else pd.Timestamp(value)
        if day is pd.NaT:
            raise InvalidInputError(f"{name} must be a date such as 2010-12-31, got {value!r}.")
        days.append(None if day is None else day.tz_localize(None).normalize())
    first, last = days
    if first is not None and last is not None and first > last:
        raise InvalidInputError(f"start {first:%Y-%m-%d} is after end {last:%Y-%m-%d}; swap them.")
    return first, last
