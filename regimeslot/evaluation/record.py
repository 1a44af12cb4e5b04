"""The record of a run's live forecasts: one file, one line a bar, never a line rewritten.

``record.jsonl`` in the run folder holds one JSON object a line. The first names the run. Then every
bar since the fit has a line with the move into it, the forecasts for the session after it, when and
by which version they were made, and whether that session was over by then. A bar that was restated
gets a further line; nothing that was written is changed. Each line holds a digest of the line
before it, so that a change by other hands shows.

States of models are in no file: they follow from the fitted models and the moves of the record, and
so can never disagree with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import BadFileError, InvalidInputError, RegimeslotError
from regimeslot.evaluation.folder import SavedRun, read_run, replace_file

if TYPE_CHECKING:
    from regimeslot.forecast import MixtureForecast

__all__ = [
    "FILE",
    "Record",
    "append",
    "describe_forecasts",
    "hold",
    "open_record",
    "read_record",
]

FILE = "record.jsonl"

_FORMAT = 1
_LOCK = ".update.lock"
_PARAMETERS = ("weights", "locations", "scales", "dof", "skew")
_NEEDED = {"next", "made_at", "after_the_fact", "version", "forecasts"}
_ADVICE = "put back the file as it was, or move it away to begin a new record"


@dataclass(frozen=True, eq=False)
class Record:
    """A record as it was read.

    Attributes
    ----------
    path : Path
    header : dict
        The first line: the run, its series, and how its targets are made.
    entries : tuple of dict
        The other lines, oldest first: bars (``bar``, ``return``, ``next``, ``made_at``,
        ``after_the_fact``, ``version``, ``forecasts``) and corrections (``corrected``).
    lines : tuple of bytes
        All lines as they stand in the file.
    torn : bool
        Whether the file ended within a line; what there is of it is not used.
    """

    path: Path
    header: dict[str, Any]
    entries: tuple[dict[str, Any], ...] = ()
    lines: tuple[bytes, ...] = ()
    torn: bool = False

    def __len__(self) -> int:
        return len(self.bars)

    @cached_property
    def bars(self) -> dict[pd.Timestamp, dict[str, Any]]:
        """Lines with forecasts, by the date of their bar."""
        return {pd.Timestamp(e["bar"]): e for e in self.entries if "bar" in e}

    @cached_property
    def moves(self) -> pd.Series:
        """Moves into the bars since the fit, as they are known by now."""
        return self._moves("return", "corrected")

    @cached_property
    def market_moves(self) -> pd.Series:
        """Log returns of the run's second series since the fit."""
        return self._moves("market", "corrected_market")

    def _moves(self, key: str, corrections: str) -> pd.Series:
        values: dict[pd.Timestamp, float] = {}
        for entry in self.entries:
            given = entry.get(key)
            if given is not None:
                each = given if isinstance(given, dict) else {entry["bar"]: given}
                values |= {pd.Timestamp(day): float(value) for day, value in each.items()}
            for day, change in entry.get(corrections, {}).items():
                values[pd.Timestamp(day)] = float(change["now"])
        index = pd.DatetimeIndex(list(values), name="Date").as_unit("us")
        return pd.Series(list(values.values()), index, dtype=float).sort_index()

    @property
    def horizon(self) -> int:
        """Bars that a target covers."""
        return int(self.header["horizon"])

    @cached_property
    def models(self) -> list[str]:
        """Models with at least one forecast."""
        return list(dict.fromkeys(name for e in self.bars.values() for name in e["forecasts"]))

    def forecasts(self, model: str) -> MixtureForecast:
        """Forecasts of one model, on the date of the bar after which each was made.

        Raises
        ------
        InvalidInputError
            If the record has no forecast of that model.
        """
        from regimeslot.forecast import MixtureForecast

        held = {
            day: e["forecasts"][model] for day, e in self.bars.items() if model in e["forecasts"]
        }
        if not held:
            raise InvalidInputError(
                f"the record has no forecasts of {model!r}: it has {', '.join(self.models)}"
            )
        weights, locations, scales, dof, skew = (
            np.array([told[name] for told in held.values()], dtype=float) for name in _PARAMETERS
        )
        dof[np.isnan(dof)] = np.inf  # None stands for a Gaussian
        index = pd.DatetimeIndex(list(held), name="after")
        return MixtureForecast(weights, locations, scales, dof, skew, index)


def describe_forecasts(forecast: MixtureForecast) -> list[dict[str, Any]]:
    """Each row of a forecast as it stands in the record; a dof of None is a Gaussian."""
    told = {
        "mean": forecast.mean(),
        "std": forecast.std(),
        "var_1": forecast.value_at_risk(0.01),
        "var_5": forecast.value_at_risk(0.05),
        **dict(zip(_PARAMETERS, forecast.parameters, strict=True)),
    }
    lists = {name: _listed(values) for name, values in told.items()}
    return [{name: values[row] for name, values in lists.items()} for row in range(len(forecast))]


def _listed(values: NDArray[np.float64]) -> list[Any]:
    """Nested lists of numbers, None where there is none that JSON knows."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return list(plain.tolist())


# ----------------------------------------------------------------------------------------- read
def read_record(folder: str | os.PathLike[str]) -> Record:
    """Read the record of a run folder.

    Parameters
    ----------
    folder : path-like
        A run folder that ``regimeslot update`` has been run on.

    Returns
    -------
    Record

    Raises
    ------
    InvalidInputError
        If the folder is no run folder, or has no record yet.
    BadFileError
        If the record is damaged, belongs to another run, or was written by another version.
    """
    saved = read_run(folder)
    if not (saved.folder / FILE).exists():
        raise InvalidInputError(f"{saved.folder} has no {FILE} yet: regimeslot update begins it")
    return open_record(saved)


def open_record(saved: SavedRun) -> Record:
    """The record of a run; an empty one where there is none yet."""
    path = saved.folder / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    torn = bool(lines) and _parsed(lines[-1]) is None
    if torn:
        lines.pop()
    if not lines:
        return Record(path, _header(saved), torn=torn)
    parsed = []
    for number, line in enumerate(lines, start=1):
        entry = _parsed(line)
        if entry is None:
            raise BadFileError(f"{path} is damaged in line {number} (no JSON object): {_ADVICE}")
        parsed.append(entry)
    header, *entries = parsed
    _check_header(path, header, saved)
    _check_entries(path, lines, entries)
    return Record(path, header, tuple(entries), tuple(lines), torn)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:  # json's and unicode's errors are these
        return None
    return entry if isinstance(entry, dict) else None


def _header(saved: SavedRun) -> dict[str, Any]:
    data, settings = saved.record["data"], saved.settings
    return {
        "format": _FORMAT,
        "about": "forecasts of a regimeslot run: one line a bar, read by read_record",
        "ticker": data["ticker"],
        "symbol": data["symbol"],
        "transform": settings["transform"],
        "horizon": settings["horizon"],
        "rounded_to": settings.get("rounded_to"),
        "main": settings["main"],
        "fitted": {"created": saved.record.get("created"), "last": data["last"]},
    }


def _check_header(path: Path, header: Mapping[str, Any], saved: SavedRun) -> None:
    if header.get("format") != _FORMAT:
        raise BadFileError(
            f"{path} has format {header.get('format')}, this version reads {_FORMAT}: update "
            "regimeslot, or move the file away to begin a new record"
        )
    expected = _header(saved)
    for name in ("symbol", "transform", "horizon", "fitted"):
        if header.get(name) != expected[name]:
            raise BadFileError(
                f"{path} is the record of another run ({name} is {header.get(name)}, here "
                f"{expected[name]}): {_ADVICE}"
            )


def _check_entries(path: Path, lines: Sequence[bytes], entries: Sequence[dict[str, Any]]) -> None:
    seen = set()
    for number, entry in enumerate(entries, start=2):
        if entry.get("previous") != _digest(lines[number - 2]):
            raise BadFileError(
                f"{path} was changed by other hands: line {number} does not follow from line "
                f"{number - 1}; {_ADVICE}"
            )
        whole = "corrected" in entry or ("bar" in entry and entry.keys() >= _NEEDED)
        if not whole or entry.get("bar", number) in seen:
            raise BadFileError(f"{path} is damaged in line {number}: {_ADVICE}")
        seen.add(entry.get("bar", number))


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


# ---------------------------------------------------------------------------------------- write
@contextmanager
def hold(
    folder: Path, *, wait: float = 60.0, waiting: Callable[[], object] | None = None
) -> Iterator[None]:
    """Keep other updates of a run folder out; a process that is killed lets go of it.

    Parameters
    ----------
    folder : Path
    wait : float
        Seconds to wait for another update to end.
    waiting : callable, optional
        Called once, when there is one to wait for.

    Raises
    ------
    InvalidInputError
        If nothing can be written in the folder.
    RegimeslotError
        If the other update still runs after ``wait`` seconds.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK, is_singleton=True)  # the same process may hold it twice
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting is not None:
                waiting()
            lock.acquire(timeout=wait)
    except Timeout as error:
        raise RegimeslotError(
            f"another update of {folder} has not ended after {wait:g} seconds: nothing was done, "
            "try again later"
        ) from error
    except OSError as error:
        raise InvalidInputError(
            f"nothing can be written in {folder} ({error.strerror or error}), so no forecast can "
            "be recorded there: regimeslot forecast needs no writing"
        ) from error
    try:
        yield
    finally:
        lock.release()


def append(record: Record, entries: Sequence[Mapping[str, Any]]) -> Record:
    """Add lines to a record, all of them or, stopped at any moment, none.

    Parameters
    ----------
    record : Record
        As :func:`open_record` gave it, under :func:`hold`.
    entries : sequence of mapping

    Raises
    ------
    RegimeslotError
        If the file cannot be written; it is then as it was.
    """
    lines = list(record.lines) or [_line(record.header)]
    added = []
    for entry in entries:
        added.append({**entry, "previous": _digest(lines[-1])})
        lines.append(_line(added[-1]))
    replace_file(record.path, b"\n".join(lines) + b"\n")
    return replace(record, entries=(*record.entries, *added), lines=tuple(lines), torn=False)


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False, ensure_ascii=False).encode()
