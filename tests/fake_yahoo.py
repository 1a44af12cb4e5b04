"""Yahoo Finance on 127.0.0.1, so that yfinance's own code runs in tests without a network.

Two ways in:

* in process, plain http: ``loopback(monkeypatch, yahoo)`` replaces the session class that
  regimeslot builds on by one that sends every request for ``*.yahoo.com`` here, and refuses any
  other host;
* a child process, unpatched: start the server with ``certificate=make_certificate(folder)`` and
  run the child with ``env=yahoo.env()``. The server then is the child's https proxy and plays every
  Yahoo host itself.

    with FakeYahoo() as yahoo:
        yahoo.add("SPY", bars, dividends={"2024-03-15": 1.6})
        yahoo.fail("SPY", RATE_LIMITED)          # the next chart request; always=True for all
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd

Reply = tuple[int, bytes]
Fault = Reply | Callable[["_Handler", bytes], None]


def error_reply(status: int, code: str, description: str) -> Reply:
    error = {"code": code, "description": description}
    return status, json.dumps({"chart": {"result": None, "error": error}}).encode()


UNKNOWN = error_reply(404, "Not Found", "No data found, symbol may be delisted")
RATE_LIMITED: Reply = (429, b"Edge: Too Many Requests")
BAD_GATEWAY: Reply = (502, b"<html><body>Bad Gateway</body></html>")
MALFORMED: Reply = (200, b'{"chart": {"result": [')
DOWN: Reply = (200, b"<html>Will be right back</html>")
NULL_RESULT: Reply = (200, b'{"chart":{"result":null,"error":null}}')


def truncated(handler: _Handler, body: bytes) -> None:
    """Promise the whole body, send half of it."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.close_connection = True


def reset(handler: _Handler, body: bytes) -> None:
    """Close the connection with a RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def slow(seconds: float) -> Fault:
    """Answer correctly, but late."""

    def reply(handler: _Handler, body: bytes) -> None:
        handler.server.stopping.wait(seconds)
        handler.answer(200, body)

    return reply


def edited(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Answer with the normal reply after ``change`` was applied to its only result."""

    def reply(handler: _Handler, body: bytes) -> None:
        content = json.loads(body)
        if content["chart"]["result"] and "timestamp" in content["chart"]["result"][0]:
            change(content["chart"]["result"][0])
        handler.answer(200, json.dumps(content).encode())

    return reply


@dataclass
class Listing:
    """Split-adjusted daily bars of one symbol, with its events and hours."""

    bars: pd.DataFrame
    dividends: Mapping[str, float] = field(default_factory=dict)
    splits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    timezone: str = "America/New_York"
    hours: tuple[str, str] = ("09:30", "16:00")
    instrument: str = "ETF"
    now: pd.Timestamp | None = None  # the exchange's clock; the real one by default

    def at(self, day: Any, clock: str) -> int:
        moment = pd.Timestamp(f"{pd.Timestamp(day):%Y-%m-%d} {clock}").tz_localize(self.timezone)
        return int(moment.timestamp())

    def adjusted(self) -> np.ndarray:
        """Close times (1 - D / close before) for every dividend D after the row."""
        close = self.bars["Close"].to_numpy(float)
        factor = np.ones(len(close))
        for day, amount in self.dividends.items():
            row = int(pd.DatetimeIndex(self.bars.index).searchsorted(pd.Timestamp(day)))
            if 0 < row < len(close):
                factor[:row] *= 1 - amount / close[row - 1]
        return close * factor

    def reply(self, symbol: str, query: Mapping[str, list[str]]) -> dict[str, Any]:
        now = int(self.now.timestamp() if self.now is not None else time.time())
        low = int(query["period1"][0]) if "period1" in query else now - 86400
        high = int(query["period2"][0]) if "period2" in query else now
        opened = pd.DatetimeIndex(self.bars.index) + pd.Timedelta(f"{self.hours[0]}:00")
        opens = opened.tz_localize(self.timezone).as_unit("s").asi8
        kept = (opens >= low) & (opens < max(high, now))
        result: dict[str, Any] = {"meta": self.meta(symbol, now)}
        if not kept.any():
            return {**result, "indicators": {"quote": [{}], "adjclose": [{}]}}
        quote = {
            name.lower(): _json_numbers(self.bars[name].to_numpy(float)[kept])
            for name in ("Open", "High", "Low", "Close", "Volume")
        }
        result["timestamp"] = opens[kept].tolist()
        result["indicators"] = {
            "quote": [quote],
            "adjclose": [{"adjclose": _json_numbers(self.adjusted()[kept])}],
        }
        result["events"] = self.events(low, max(high, now))
        return result

    def meta(self, symbol: str, now: int) -> dict[str, Any]:
        local = pd.Timestamp(now, unit="s", tz="UTC").tz_convert(self.timezone)
        last = self.bars.index[-1]
        start, end = (self.at(last, clock) for clock in self.hours)
        hours = {
            "timezone": local.tzname(),
            "gmtoffset": int((local.utcoffset() or timedelta()).total_seconds()),
            "start": start,
            "end": end,
        }
        return {
            "currency": "USD",
            "symbol": symbol,
            "instrumentType": self.instrument,
            "exchangeTimezoneName": self.timezone,
            "regularMarketTime": min(now, end),
            "priceHint": 2,
            "validRanges": ["1d", "5d", "1mo", "1y", "max"],
            "currentTradingPeriod": {part: dict(hours) for part in ("pre", "regular", "post")},
        }

    def events(self, low: int, high: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for day, amount in self.dividends.items():
            if low <= (stamp := self.at(day, self.hours[0])) < high:
                found.setdefault("dividends", {})[str(stamp)] = {"amount": amount, "date": stamp}
        for day, (new, old) in self.splits.items():
            if low <= (stamp := self.at(day, self.hours[0])) < high:
                found.setdefault("splits", {})[str(stamp)] = {
                    "date": stamp,
                    "numerator": new,
                    "denominator": old,
                    "splitRatio": f"{new}:{old}",
                }
        return found


def _json_numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement
    tunnelled_host: str | None = None
    server: _Server

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self.tunnelled_host is not None:
            host, path = self.tunnelled_host, parts.path
        else:
            host, _, rest = parts.path.lstrip("/").partition("/")
            path = f"/{rest}"
        try:
            self.server.yahoo.serve(self, host, path, parse_qs(parts.query))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True  # the client gave up, as some tests want

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        context = self.server.yahoo.tls
        if context is None or not (host == "yahoo.com" or host.endswith(".yahoo.com")):
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.tunnelled_host = host
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    yahoo: FakeYahoo
    stopping: threading.Event

    def handle_error(self, *args: object) -> None:
        """A client that hangs up is part of the tests."""


class FakeYahoo:
    """The server. ``requests`` lists every (host, path, query) that it was asked."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.certificate = certificate
        self.tls: ssl.SSLContext | None = None
        if certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self.tls.set_alpn_protocols(["http/1.1"])
        self.listings: dict[str, Listing] = {}
        self.requests: list[tuple[str, str, dict[str, list[str]]]] = []
        self.side_fault: Fault | None = None  # for the cookie and crumb requests
        self._queue: dict[str, deque[Fault]] = defaultdict(deque)
        self._standing: dict[str, Fault] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.yahoo = self
        self._server.stopping = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def add(self, symbol: str, bars: pd.DataFrame, **details: Any) -> Listing:
        self.listings[symbol] = Listing(bars, **details)
        return self.listings[symbol]

    def fail(self, symbol: str, *faults: Fault, always: bool = False) -> None:
        """Queue faults for the next chart requests, or set one for all of them."""
        if always:
            (self._standing[symbol],) = faults
        else:
            self._queue[symbol].extend(faults)

    def heal(self, symbol: str) -> None:
        self._standing.pop(symbol, None)
        self._queue.pop(symbol, None)

    def chart_requests(self, symbol: str) -> int:
        return sum(path.endswith(f"/finance/chart/{symbol}") for _, path, _ in self.requests)

    def env(self, **extra: str) -> dict[str, str]:
        """Return the environment in which a child process meets this server as Yahoo."""
        if self.certificate is None:
            raise ValueError("FakeYahoo(certificate=make_certificate(folder)) is needed for this.")
        proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        kept = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
        trust = {"REQUESTS_CA_BUNDLE": str(self.certificate), "HTTPS_PROXY": self.url}
        return {**kept, **trust, "https_proxy": self.url, **extra}

    def serve(self, handler: _Handler, host: str, path: str, query: dict[str, list[str]]) -> None:
        self.requests.append((host, path, query))
        if path.startswith("/v8/finance/chart/"):
            self._chart(handler, unquote(path.rpartition("/")[2]), query)
        elif callable(self.side_fault):
            self.side_fault(handler, b"")
        elif self.side_fault is not None:
            handler.answer(*self.side_fault)
        elif host == "fc.yahoo.com":
            handler.answer(404, b"", Set_Cookie="A3=fake; Path=/; Max-Age=31536000")
        elif path == "/v1/test/getcrumb":
            handler.answer(200, b"crumb", Content_Type="text/plain")
        elif host in ("guce.yahoo.com", "consent.yahoo.com"):
            handler.answer(200, b"<html></html>", Content_Type="text/html")
        else:
            handler.answer(*UNKNOWN)

    def _chart(self, handler: _Handler, symbol: str, query: dict[str, list[str]]) -> None:
        listing = self.listings.get(symbol)
        if listing is None:
            status, body = UNKNOWN
        else:
            result = listing.reply(symbol, query)
            status, body = 200, json.dumps({"chart": {"result": [result], "error": None}}).encode()
        fault = self._standing.get(symbol)
        if fault is None and self._queue[symbol]:
            fault = self._queue[symbol].popleft()
        if callable(fault):
            fault(handler, body)
        elif fault is not None:
            handler.answer(*fault)
        else:
            handler.answer(status, body)

    def __enter__(self) -> FakeYahoo:
        poll = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=poll, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()


def make_certificate(folder: Path) -> Path:
    """Write a certificate for Yahoo's hosts and its key (``.key``) with the openssl program."""
    certificate = Path(folder) / "fake-yahoo.crt"
    hosts = "subjectAltName=DNS:yahoo.com,DNS:*.yahoo.com,DNS:*.finance.yahoo.com"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=fake yahoo"),
            *("-addext", hosts, "-keyout", str(certificate.with_suffix(".key"))),
            *("-out", str(certificate)),
        ),
        check=True,
        capture_output=True,
    )
    return certificate


def loopback(monkeypatch: Any, yahoo: FakeYahoo | str) -> None:
    """Send this process's Yahoo requests to ``yahoo`` (a server or its url), for one test."""
    from curl_cffi import requests
    from yfinance import base, cache, data

    from regimeslot.prices import yahoo as client

    target = yahoo if isinstance(yahoo, str) else yahoo.url

    class Loopback(requests.Session):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, trust_env=False)  # a proxy of the machine is not for us

        def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            parts = urlsplit(url)
            if not (parts.hostname or "").endswith("yahoo.com"):
                raise AssertionError(f"a test tried to reach {url}")
            query = f"?{parts.query}" if parts.query else ""
            url = f"{target}/{parts.hostname}{parts.path}{query}"
            return super().request(method, url, *args, **kwargs)

    # yfinance remembers sessions, cookies and time zones for the whole process.
    monkeypatch.setattr(requests, "Session", Loopback)
    monkeypatch.setattr(data.SingletonMeta, "_instances", {})
    monkeypatch.setattr(cache._TzCacheManager, "_tz_cache", None)
    monkeypatch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
    monkeypatch.setattr(base, "_tz_info_fetch_ctr", 0)
    client._session.cache_clear()
    monkeypatch.setattr(client, "_PAUSE", 0.01)


def make_bars(
    start: str = "2023-01-03",
    end: str = "2024-03-15",
    *,
    seed: int = 0,
    symbol: str = "SPY",
    price: float = 400.0,
) -> pd.DataFrame:
    """Return a random walk of consistent bars on New York sessions (weekends too for crypto)."""
    from regimeslot.prices import sessions_between

    week = pd.date_range if "-USD" in symbol else pd.bdate_range
    days = sessions_between(start, end, week("2022-01-10", "2022-01-14"), symbol)
    if "-USD" in symbol:
        days = pd.date_range(start, end, name="Date")
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(0.01 * rng.standard_normal(len(days))))
    open_ = close * np.exp(0.003 * rng.standard_normal(len(days)))
    spread = 1 + 0.004 * rng.random(len(days))
    high, low = np.maximum(open_, close) * spread, np.minimum(open_, close) / spread
    volume = rng.integers(10**6, 10**7, len(days)).astype(float)
    bars = {"Open": open_, "High": high, "Low": low, "Close": close, "Volume": volume}
    return pd.DataFrame(bars, index=days)
