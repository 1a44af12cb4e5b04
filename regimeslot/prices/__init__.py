"""Prices from Yahoo, the cache, files and the bundled snapshot, checked before a model sees them.

The names resolve on first use: importing this package loads neither pandas nor pyarrow, and
yfinance is imported only where a download happens.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regimeslot.prices.frame import Prices
    from regimeslot.prices.load import load_prices
    from regimeslot.prices.sessions import infer_frequency, next_session, sessions_between

__all__ = ["Prices", "infer_frequency", "load_prices", "next_session", "sessions_between"]


def __getattr__(name: str) -> Any:
    if name == "Prices":
        return import_module("regimeslot.prices.frame").Prices
    if name == "load_prices":
        return import_module("regimeslot.prices.load").load_prices
    if name in __all__:
        return getattr(import_module("regimeslot.prices.sessions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
