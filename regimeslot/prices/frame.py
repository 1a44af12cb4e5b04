"""The result of a load: a clean frame and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pandas as pd

__all__ = ["Kind", "Prices"]

Kind = Literal["price", "series"]


@dataclass(frozen=True, eq=False)
class Prices:
    """One price series with its provenance.

    Attributes
    ----------
    frame : DataFrame
        tz-naive ``DatetimeIndex`` named ``Date``, sorted and unique; float columns among ``Open``,
        ``High``, ``Low``, ``Close``, ``Volume``. ``Close`` is always there, finite, and adjusted
        for splits and dividends as far as the source allows; the other columns may hold NaN.
    ticker : str
        As asked for.
    symbol : str
        As held by the source; differs from ``ticker`` when a proxy stands in.
    source : {"yahoo", "cache", "file", "bundled"}
        Where the rows came from.
    as_of : datetime
        When they were downloaded (UTC), the file's time, or the snapshot's last day.
    notes : tuple of str
        One sentence per fallback or oddity; those worth a warning were also warned.
    proxy_for : str or None
        The ticker that ``symbol`` stands in for.
    kind : {"price", "series"}
        ``series`` is for values that are not prices (rates, unemployment): no positivity.

    Examples
    --------
    >>> from regimeslot.prices import load_prices
    >>> prices = load_prices("KO", source="bundled", start="2021-01-01")
    >>> prices.source, prices.symbol, f"{prices.last:%Y-%m-%d}"
    ('bundled', 'KO', '2022-12-28')
    >>> prices.close.tail(2).tolist()
    [63.24, 62.609]
    """

    frame: pd.DataFrame
    ticker: str
    symbol: str
    source: str
    as_of: datetime
    notes: tuple[str, ...] = ()
    proxy_for: str | None = None
    kind: Kind = "price"

    @property
    def close(self) -> pd.Series:
        """Adjusted closing prices, named after the ticker."""
        return self.frame["Close"].rename(self.ticker)

    @property
    def index(self) -> pd.DatetimeIndex:
        """The dates of the rows."""
        return pd.DatetimeIndex(self.frame.index)

    @property
    def last(self) -> pd.Timestamp:
        """The date of the last row."""
        return self.index[-1]

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        span = f"{self.index[0]:%Y-%m-%d} to {self.last:%Y-%m-%d}" if len(self) else "no rows"
        proxy = f", proxy for {self.proxy_for}" if self.proxy_for else ""
        return f"Prices({self.symbol}{proxy}, {len(self)} rows, {span}, from {self.source})"
