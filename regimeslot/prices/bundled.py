"""The price snapshot that ships with the package."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from regimeslot.errors import BadFileError, UnknownTickerError

__all__ = ["PROXIES", "bundled_symbols", "read_bundled", "resolve"]

PROXIES = {"SPY": "^GSPC"}

_FILE = "us_daily_1990_2022.parquet"
_TICK = 1000  # the file holds thousandths


def bundled_symbols() -> tuple[str, ...]:
    """Return the symbols that the snapshot holds.

    Examples
    --------
    >>> len(bundled_symbols()), bundled_symbols()[0]
    (21, '^GSPC')
    """
    from pyarrow import parquet

    return tuple(name for name in parquet.read_schema(_path()).names if name != "Date")


def resolve(symbol: str) -> str | None:
    """Return the bundled series that serves ``symbol``: itself, its proxy, or None.

    Examples
    --------
    >>> resolve("SPY"), resolve("KO"), resolve("TSLA")
    ('^GSPC', 'KO', None)
    """
    symbol = PROXIES.get(symbol, symbol)
    return symbol if symbol in bundled_symbols() else None


def read_bundled(symbol: str) -> pd.DataFrame:
    """Read one series of the snapshot.

    Parameters
    ----------
    symbol : str
        One of :func:`bundled_symbols`, or a ticker that one of them stands in for.

    Returns
    -------
    DataFrame
        Column ``Close``: dollars, or index points.

    Raises
    ------
    UnknownTickerError
        If the snapshot does not hold it.

    Examples
    --------
    >>> float(read_bundled("^GSPC").loc["1990-01-02", "Close"])
    359.69
    """
    from pyarrow import parquet

    held = resolve(symbol)
    if held is None:
        raise UnknownTickerError(
            f"The bundled snapshot has no {symbol}; it holds {', '.join(bundled_symbols())}."
        )
    table = parquet.read_table(_path(), columns=["Date", held])
    dates = pd.DatetimeIndex(table.column("Date").to_numpy().astype("datetime64[s]"), name="Date")
    return pd.DataFrame({"Close": table.column(held).to_numpy() / _TICK}, index=dates)


@lru_cache(maxsize=1)
def _path() -> Path:
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data", package.parent / "data"):  # installed; source checkout
        if (folder / _FILE).is_file():
            return folder / _FILE
    raise BadFileError(f"The bundled snapshot {_FILE} is not installed; reinstall regimeslot.")
