"""Whole daily histories from Yahoo Finance through yfinance, in bounded time, with typed errors."""

from __future__ import annotations

import json
import logging
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.errors import NetworkError, UnknownTickerError
from regimeslot.prices.cache import Entry
from regimeslot.prices.checks import Finding

__all__ = ["adjust", "download"]

_PRICES = ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
_EVENTS = ["Dividends", "Stock Splits"]
_SIDE_SHARE = 0.1  # of the time, for one request that prices can do without (cookie, crumb)
_PAUSE = 0.5  # seconds before the second attempt

# yfinance keeps its settings and its session for the whole process.
_ONE_AT_A_TIME = threading.Lock()


def download(symbol: str, *, timeout: float, state_dir: Path) -> Entry:
    """Download the whole history of one symbol.

    The bar of a session that is not over is dropped. A broken reply is asked for once more; a
    refusal (unknown symbol, too many requests) and an absent network are not.

    Parameters
    ----------
    symbol : str
        As Yahoo spells it.
    timeout : float
        Seconds for everything together.
    state_dir : Path
        Where yfinance may keep its cookies and time zones.

    Returns
    -------
    Entry

    Raises
    ------
    UnknownTickerError
        If Yahoo has no prices under this symbol.
    NetworkError
        If Yahoo cannot be reached, refuses, or sends what cannot be read.
    """
    deadline = time.monotonic() + timeout
    if not _ONE_AT_A_TIME.acquire(timeout=timeout):
        raise NetworkError(
            f"Yahoo was not asked for {symbol}: another download took all of the {timeout:g} s; "
            "try again."
        )
    try:
        with _yfinance(state_dir) as yf:
            session = _session()
            session.start(deadline, timeout)
            try:
                return _attempts(yf, session, symbol, deadline)
            finally:
                session.stop()
    finally:
        _ONE_AT_A_TIME.release()


def adjust(raw: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Turn raw bars into bars adjusted for dividends.

    Each of open, high, low and close is multiplied by ``Adj Close / Close`` of its row. Where
    Yahoo sent an ``Adj Close`` that ignores its own dividends, the factor is computed from them:
    ``1 - D / C`` with the close of the session before, for all rows before a dividend ``D``.

    Parameters
    ----------
    raw : DataFrame
        As in :class:`~regimeslot.prices.cache.Entry`.
    name : str
        What the messages call the series.

    Returns
    -------
    frame : DataFrame
        ``Open High Low Close Volume``.
    findings : list of Finding
    """
    findings: list[Finding] = []
    close, adjusted = raw["Close"].to_numpy(float), raw["Adj Close"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = adjusted / close
    own = _dividend_factor(raw)
    known = np.isfinite(factor)
    if known.any() and np.abs(factor[known] - 1).max() < 1e-6 and np.abs(own - 1).max() > 1e-6:
        factor, adjusted = own, close * own
        findings.append(
            Finding(
                f"{name}: Yahoo sent unadjusted prices; they were adjusted here for the dividends "
                "that it lists."
            )
        )
    frame = raw[["Open", "High", "Low"]].mul(factor, axis=0)
    return frame.assign(Close=adjusted, Volume=raw["Volume"]), findings


def _dividend_factor(raw: pd.DataFrame) -> np.ndarray:
    dividends = raw["Dividends"].fillna(0.0).to_numpy(float)
    before = raw["Close"].ffill().shift().to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where((dividends > 0) & (before > dividends), 1 - dividends / before, 1.0)
    # The factor of a row takes in every dividend after it, not its own.
    return np.r_[np.cumprod(step[::-1])[::-1][1:], 1.0]


@contextmanager
def _yfinance(state_dir: Path) -> Iterator[Any]:
    """Lend yfinance with errors raised and its chatter off, and put its settings back."""
    with warnings.catch_warnings():
        import yfinance as yf

        warnings.simplefilter("ignore")  # after the import, which sets filters of its own

        logger = logging.getLogger("yfinance")
        hidden, level = yf.config.debug.hide_exceptions, logger.level
        yf.cache.set_cache_location(str(state_dir))  # goes without where it cannot be written
        yf.config.debug.hide_exceptions = False
        logger.setLevel(logging.CRITICAL)
        try:
            yield yf
        finally:
            yf.config.debug.hide_exceptions = hidden
            logger.setLevel(level)


@lru_cache(maxsize=1)
def _session() -> Any:
    """Return the process's one session; yfinance keeps the cookies of the last it was given."""
    from curl_cffi import requests

    class BoundedSession(requests.Session):
        """A session whose requests end by a common deadline.

        yfinance gives its cookie and time-zone requests fixed timeouts of up to 30 s each, so a
        network that swallows everything costs minutes; here they share what is left.
        """

        deadline: float | None = None
        longest_side = 30.0

        def start(self, deadline: float, timeout: float) -> None:
            self.deadline, self.longest_side = deadline, max(_SIDE_SHARE * timeout, 0.2)

        def stop(self) -> None:
            # yfinance keeps this session for the user's own calls: no deadline for those.
            self.deadline = None

        def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            if self.deadline is not None:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    raise requests.exceptions.Timeout("no time left")
                asked = kwargs.get("timeout")
                limits = [left] if "/finance/chart/" in url else [left, self.longest_side]
                if isinstance(asked, int | float) and "/finance/chart/" not in url:
                    limits.append(float(asked))
                kwargs["timeout"] = min(limits)
            return super().request(method, url, *args, **kwargs)

    return BoundedSession(impersonate="chrome")


def _attempts(yf: Any, session: Any, symbol: str, deadline: float) -> Entry:
    try:
        return _attempt(yf, session, symbol)
    except _BrokenReplyError as error:
        if deadline - time.monotonic() < 2 * _PAUSE:
            raise NetworkError(str(error)) from error
    time.sleep(_PAUSE)
    try:
        return _attempt(yf, session, symbol)
    except _BrokenReplyError as error:
        raise NetworkError(f"{error} It was asked twice.") from error


class _BrokenReplyError(NetworkError):
    """Yahoo answered, but not with prices: worth asking once more."""


def _attempt(yf: Any, session: Any, symbol: str) -> Entry:
    from curl_cffi.requests import exceptions as curl
    from peewee import PeeweeException  # yfinance's sqlite caches: locked by another process
    from yfinance import exceptions as yfx
    from yfinance.data import YfData

    YfData.cache_get.cache_clear()  # it replays a stored bad reply without asking again
    try:
        ticker = yf.Ticker(symbol, session=session)
        frame = ticker.history(period="max", auto_adjust=False, actions=True, keepna=True)
        meta = ticker.get_history_metadata()
    except yfx.YFRateLimitError as error:
        raise NetworkError(
            f"Yahoo refused {symbol}: too many requests for now; wait some minutes."
        ) from error
    except (yfx.YFTickerMissingError, yfx.YFInvalidPeriodError) as error:
        raise _unknown(symbol) from error
    except json.JSONDecodeError as error:
        raise _BrokenReplyError(
            f"Yahoo sent no readable answer for {symbol} (it may be down); try again later."
        ) from error
    except (curl.IncompleteRead, curl.ChunkedEncodingError) as error:
        raise _BrokenReplyError(
            f"Yahoo's answer for {symbol} broke off; check the network and try again."
        ) from error
    except curl.HTTPError as error:
        if getattr(error.response, "status_code", None) == 404:
            raise _unknown(symbol) from error
        raise _BrokenReplyError(
            f"Yahoo answered {symbol} with an error ({error}); try again."
        ) from error
    except curl.DNSError as error:
        raise NetworkError(
            f"Yahoo could not be asked for {symbol}: its name does not resolve; check the network."
        ) from error
    except curl.Timeout as error:
        raise NetworkError(
            f"Yahoo did not answer for {symbol} in time; check the network or raise the timeout."
        ) from error
    except (curl.SSLError, curl.ProxyError) as error:
        raise NetworkError(
            f"Yahoo could not be reached for {symbol} ({error.args[0]}); check proxy and "
            "certificates."
        ) from error
    except (curl.RequestException, OSError) as error:
        raise _BrokenReplyError(
            f"The connection to Yahoo for {symbol} failed ({type(error).__name__}); check the "
            "network and try again."
        ) from error
    except PeeweeException as error:
        raise _BrokenReplyError(
            f"yfinance could not use its own cache for {symbol} ({error}); try again."
        ) from error
    except (yfx.YFException, LookupError, TypeError, ValueError, AttributeError) as error:
        # yfinance indexes into whatever came: a missing field is a raw KeyError, and so on.
        raise _BrokenReplyError(
            f"Yahoo's answer for {symbol} is not what it should be ({type(error).__name__}: "
            f"{error}); try again later."
        ) from error
    return _entry(frame, meta, symbol, yf.__version__)


def _entry(frame: pd.DataFrame, meta: Mapping[str, Any], symbol: str, client: str) -> Entry:
    missing = [column for column in _PRICES if column not in frame]
    if missing:
        raise _BrokenReplyError(
            f"Yahoo's answer for {symbol} lacks {', '.join(missing)}; try again."
        )
    # By name: a dividend dated after the last bar adds a row and reorders the columns.
    raw = frame.reindex(columns=_PRICES + _EVENTS).astype(float)
    raw[_EVENTS] = raw[_EVENTS].fillna(0.0)
    raw.index = pd.DatetimeIndex(raw.index).tz_localize(None).normalize().as_unit("us")
    raw.index.name = "Date"
    raw = raw.loc[: raw["Close"].last_valid_index()]  # a dividend to come is a row without prices
    unfinished = _unfinished_day(meta)
    if unfinished is not None:
        raw = raw[raw.index < unfinished]
    if raw.empty:
        raise _unknown(symbol)
    return Entry(
        raw=raw,
        symbol=symbol,
        fetched_at=datetime.now(UTC),
        details={
            "currency": str(meta.get("currency") or ""),
            "timezone": str(meta.get("exchangeTimezoneName") or ""),
            "instrument": str(meta.get("instrumentType") or ""),
            "client": f"yfinance {client}",
        },
    )


def _unfinished_day(meta: Mapping[str, Any]) -> pd.Timestamp | None:
    """Return the date of the session that still runs, or None."""
    try:
        period = meta["currentTradingPeriod"]["regular"]
        start, end = pd.Timestamp(period["start"]), pd.Timestamp(period["end"])
        traded = pd.Timestamp(meta["regularMarketTime"])
    except (KeyError, TypeError, ValueError):
        return None  # an old or odd listing without hours
    if any(moment.tz is None for moment in (start, end, traded)) or traded >= end:
        return None
    return start.tz_localize(None).normalize()


def _unknown(symbol: str) -> UnknownTickerError:
    return UnknownTickerError(
        f"Yahoo has no prices for {symbol}; check the symbol on finance.yahoo.com."
    )
