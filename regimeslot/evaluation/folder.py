"""The run folder: everything a run leaves behind, written whole or not at all, and read back.

A folder is filled under a hidden name beside its place and renamed at the end, so that stopping
at any moment leaves earlier folders as they were and none half written under a final name.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from regimeslot.errors import BadFileError, InvalidInputError, RegimeslotError
from regimeslot.evaluation.run import Run
from regimeslot.forecast import MixtureForecast
from regimeslot.prices import Prices
from regimeslot.prices.frame import Kind

__all__ = [
    "FORECASTS",
    "MARKET",
    "MODELS",
    "PRICES",
    "RECORD",
    "REPORT",
    "SavedRun",
    "folder_name",
    "read_run",
    "record_text",
    "replace_file",
    "require_place",
    "run_record",
    "write_folder",
    "write_tables",
]

RECORD = "fit.json"
REPORT = "report.html"
FORECASTS = "forecasts.parquet"
PRICES = "prices.parquet"
MARKET = "market.parquet"
MODELS = "models"

_FORMAT = 1
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_NEEDED = {
    "data": ("ticker", "symbol", "source", "first", "last", "rows", "last_return_date"),
    "forecast": ("date", "mean", "std", "quantiles", "regimes"),
    "settings": ("horizon", "transform", "main", "regime_model", "source", "file", "start"),
}


# ---------------------------------------------------------------------------------------- write
def folder_name(run: Run) -> str:
    """Name of a run's folder: ticker, last day of its prices, and when it was made (UTC)."""
    ticker = re.sub(r"[^A-Za-z0-9._-]+", "-", run.prices.ticker).strip("-.")[:40] or "series"
    return f"{ticker}-{run.prices.last:%Y-%m-%d}-{run.created:%Y%m%dT%H%M%SZ}"


def require_place(target: Path, *, new: bool = True) -> None:
    """Find out before a long computation whether a run folder can be made at ``target``.

    Parameters
    ----------
    target : Path
        The folder to make, or with ``new=False`` the folder that it will lie in.
    new : bool
        Whether ``target`` itself must not hold anything yet.

    Raises
    ------
    InvalidInputError
        If something is there already, or nothing can be written there.
    """
    try:
        if new and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidInputError(
                f"{target} exists already and is never overwritten: name a new folder"
            )
        place = target.absolute().parent if new else target.absolute()
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryDirectory(prefix=".regimeslot-", dir=place):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"cannot write a run folder {target}: {_reason(error)}; name another folder"
        ) from error


def write_folder(target: Path, fill: Callable[[Path], object], *, numbered: bool = False) -> Path:
    """Make a folder that appears under its name only once ``fill`` has completed it.

    Parameters
    ----------
    target : Path
        Where it shall stand; it must not exist, or be empty.
    fill : callable
        Called with the folder to fill, which has another name until then.
    numbered : bool
        Whether "-2", "-3", ... may be added where the name is taken.

    Returns
    -------
    Path
        Where it stands.

    Raises
    ------
    InvalidInputError
        If the name is taken.
    RegimeslotError
        If it cannot be written; nothing is left of it then.
    """
    draft = target.parent / f".{target.name}-unfinished-{secrets.token_hex(4)}"
    try:
        draft.mkdir(parents=True)
        fill(draft)
        return _rename(draft, target, numbered)
    except OSError as error:
        raise RegimeslotError(
            f"the run folder {target} could not be written: {_reason(error)}"
        ) from error
    finally:  # Ctrl-C too leaves no litter; after the renaming there is nothing to remove
        shutil.rmtree(draft, ignore_errors=True)


def _rename(draft: Path, target: Path, numbered: bool) -> Path:
    place, number = target, 1
    while True:
        try:
            os.rename(draft, place)  # refuses a folder that holds anything
            return place
        except OSError as error:
            if error.errno not in _TAKEN or not place.exists():
                raise
            if not numbered:
                raise InvalidInputError(
                    f"{place} was made by another run meanwhile: name a new folder"
                ) from error
        number += 1
        place = target.with_name(f"{target.name}-{number}")


def replace_file(target: Path, content: bytes) -> None:
    """Write a file of a run folder whole: at any moment the old one is there, or the new one.

    Raises
    ------
    RegimeslotError
        If it cannot be written; the old one is left as it was.
    """
    draft = target.with_name(f".{target.name}.part")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, draft)
        os.replace(draft, target)
        _flush_names(target.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RegimeslotError(f"{target} could not be written: {_reason(error)}") from error


def _flush_names(folder: Path) -> None:
    """Make a renaming outlive a power cut, where the system can."""
    with suppress(OSError):  # not every system opens folders, nor every disk flushes them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def run_record(
    run: Run,
    *,
    request: Mapping[str, str | None],
    market: Prices | None = None,
    notes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The contents of ``fit.json``: the run's own, how the prices were asked for, every warning.

    Parameters
    ----------
    run : Run
    request : mapping
        ``source``, ``file``, ``column``, ``start`` and ``end`` as given to ``load_prices``.
    market : Prices, optional
        The second series of the run.
    notes : tuple of str
        Every sentence said about the data and the fits.
    """
    record = run.to_json()
    record["settings"] |= dict(request)
    record["market"] = None if market is None else _provenance(market)
    record["notes"] = list(notes)
    return {"format": _FORMAT, **record}


def _provenance(prices: Prices) -> dict[str, Any]:
    return {
        "ticker": prices.ticker,
        "symbol": prices.symbol,
        "source": prices.source,
        "as_of": str(prices.as_of),
        "first": f"{prices.index[0]:%Y-%m-%d}",
        "last": f"{prices.last:%Y-%m-%d}",
        "rows": len(prices),
        "proxy_for": prices.proxy_for,
        "notes": list(prices.notes),
    }


def record_text(record: Mapping[str, Any]) -> str:
    """The record as JSON, as it stands in ``fit.json``."""
    return json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_tables(
    folder: Path, run: Run, record: Mapping[str, Any], market: Prices | None = None
) -> None:
    """Write ``fit.json``, the walk-forward's forecasts, and the prices that were used."""
    (folder / RECORD).write_text(record_text(record), encoding="utf-8")
    forecast_table(run).to_parquet(folder / FORECASTS, index=False)
    run.prices.frame.to_parquet(folder / PRICES)
    if market is not None:
        market.frame.to_parquet(folder / MARKET)


def forecast_table(run: Run) -> pd.DataFrame:
    """Walk-forward forecasts of all models below each other.

    Columns ``model``, ``date``, ``y`` (realised), then ``weight_0, location_0, scale_0, dof_0,
    skew_0, weight_1, ...``, empty where a model has fewer components.
    """
    y = run.study.y
    parts = []
    for name, forecast in run.study.forecasts.items():
        bare = MixtureForecast(*forecast.parameters).to_frame()
        parts.append(bare.assign(model=name, date=y.index, y=y.to_numpy()))
    table = pd.concat(parts, ignore_index=True)
    first = ["model", "date", "y"]
    return table[first + [column for column in table.columns if column not in first]]


# ----------------------------------------------------------------------------------------- read
@dataclass(frozen=True, eq=False)
class SavedRun:
    """A run folder that was read.

    Attributes
    ----------
    folder : Path
    record : dict
        The contents of its ``fit.json``.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """How the run was made."""
        return dict(self.record["settings"])

    @property
    def last_row(self) -> pd.Timestamp:
        """Date of the last row that the models were fitted on."""
        return pd.Timestamp(self.record["data"]["last_return_date"])

    @property
    def kind(self) -> Kind:
        """Kind of series: "price", or "series" for rates and the like."""
        return "price" if self.record["settings"]["transform"] == "log-return" else "series"

    @property
    def models(self) -> list[str]:
        """Models that the next session's forecast needs: the main one, and that of the regimes."""
        settings = self.record["settings"]
        wanted = [settings["main"], settings["regime_model"]]
        return list(dict.fromkeys(name for name in wanted if name is not None))

    @property
    def every_model(self) -> list[str]:
        """Every model that the run saved: those it was asked for, but for those that failed."""
        failed = self.record.get("failures") or {}
        wanted = [n for n in self.record["settings"].get("models", ()) if n not in failed]
        return list(dict.fromkeys([*wanted, *self.models]))

    def model_file(self, name: str) -> Path:
        """File of a fitted model."""
        return self.folder / MODELS / f"{name}.safetensors"

    def prices(self) -> Prices:
        """Prices that the run was made from."""
        return self._prices(PRICES, self.record["data"])

    def market(self) -> Prices | None:
        """Second series of the run, or None."""
        market = self.record.get("market")
        return None if market is None else self._prices(MARKET, market)

    def _prices(self, name: str, data: Mapping[str, Any]) -> Prices:
        frame = self._table(name)
        try:
            as_of = datetime.fromisoformat(data["as_of"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(RECORD, "data.as_of is no date") from error
        fits = isinstance(frame.index, pd.DatetimeIndex) and "Close" in frame.columns
        if not fits or len(frame) != data["rows"] or f"{frame.index[-1]:%Y-%m-%d}" != data["last"]:
            raise self._damaged(name, f"it does not hold the prices that {RECORD} describes")
        return Prices(
            frame=frame,
            ticker=data["ticker"],
            symbol=data["symbol"],
            source=data["source"],
            as_of=as_of,
            notes=tuple(data.get("notes", ())),
            proxy_for=data.get("proxy_for"),
            kind=self.kind if name == PRICES else "price",
        )

    def forecasts(self, model: str) -> tuple[MixtureForecast, pd.Series]:
        """Walk-forward forecasts of one model, and the realised targets."""
        table = self._table(FORECASTS)
        if "model" not in table.columns or not (table["model"] == model).any():
            raise self._damaged(FORECASTS, f"it holds no forecasts of {model}")
        rows = table[table["model"] == model].set_index("date").drop(columns="model")
        y = rows.pop("y")
        try:
            return MixtureForecast.from_frame(rows.dropna(axis=1, how="all")), y
        except InvalidInputError as error:
            raise self._damaged(FORECASTS, str(error)) from error

    def _table(self, name: str) -> pd.DataFrame:
        try:
            return pd.read_parquet(self.folder / name)
        except FileNotFoundError as error:
            raise self._damaged(name, "the file is missing") from error
        except (OSError, ValueError) as error:  # pyarrow's errors are these
            raise self._damaged(name, str(error).split("\n")[0]) from error

    def _damaged(self, name: str, why: str) -> BadFileError:
        return BadFileError(f"{self.folder / name} is damaged ({why}): make the run again")


def read_run(folder: str | os.PathLike[str]) -> SavedRun:
    """Read a run folder's record; its tables are read when they are asked for.

    Raises
    ------
    InvalidInputError
        If the folder is not there, or is no run folder.
    BadFileError
        If its ``fit.json`` is damaged, or from another version.
    """
    place = Path(folder)
    file = place / RECORD
    if not file.is_file():
        what = "has no " + RECORD if place.is_dir() else "is no folder"
        raise InvalidInputError(
            f"{place} {what}: expected a run folder, as regimeslot fit writes them"
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("it holds no JSON object")
        if record.get("format") != _FORMAT:
            raise BadFileError(
                f"{file} has format {record.get('format')}, this version reads {_FORMAT}: "
                "make the run again"
            )
        for part, keys in _NEEDED.items():
            missing = [key for key in keys if key not in (record.get(part) or {})]
            if missing:
                raise ValueError(f"{part} lacks {', '.join(missing)}")
    except (OSError, ValueError) as error:  # json's and unicode's errors are ValueErrors
        raise BadFileError(f"{file} is damaged ({error}): make the run again") from error
    return SavedRun(place, record)


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]
