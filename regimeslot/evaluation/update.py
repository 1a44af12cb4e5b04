"""Live use of a saved run: record a forecast for every new bar, and score those come true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import regimeslot
from regimeslot.evaluation.folder import SavedRun
from regimeslot.evaluation.record import Record, append, describe_forecasts, hold, open_record
from regimeslot.evaluation.record_scores import record_scores, record_table
from regimeslot.evaluation.resume import Progress, Resumed, resume
from regimeslot.evaluation.resume_clock import is_over
from regimeslot.evaluation.resume_history import Correction, News
from regimeslot.models.base import Forecaster
from regimeslot.prices import Prices

__all__ = ["Updated", "update"]

_AGREE = 1e-6  # relative: the same forecast by the same files, whatever the machine


@dataclass(frozen=True, eq=False)
class Updated:
    """What an update did.

    Attributes
    ----------
    resumed : Resumed
        The next session's forecast, and what the new prices brought.
    record : Record, as it is now
    added : int
        Bars after which forecasts were recorded by this update.
    table : DataFrame
        Every recorded forecast, see :func:`regimeslot.evaluation.record_scores.record_table`.
    scores : DataFrame
        See :func:`regimeslot.evaluation.record_scores.record_scores`.
    next_is_over : bool
        Whether the next session has ended by the clock, though its bar has not come.
    notes : tuple of str
    """

    resumed: Resumed
    record: Record
    added: int
    table: pd.DataFrame
    scores: pd.DataFrame
    next_is_over: bool
    notes: tuple[str, ...]


def update(
    saved: SavedRun,
    models: Mapping[str, Forecaster],
    prices: Prices | None = None,
    market: Prices | None = None,
    *,
    now: datetime | None = None,
    wait: float = 60.0,
    progress: Progress | None = None,
) -> Updated:
    """Move a run's models past new bars and append their forecasts to the run's record.

    After every bar since the fit each model forecasts the next one, with the parameters of the fit
    and what was known at that bar. A forecast is recorded once, with the time it was made; where
    its session was over by then (bars that were caught up with), it is marked as made after the
    fact. Nothing recorded is rewritten: stopped at any moment, the record holds what it held, or
    that and all that is new.

    Parameters
    ----------
    saved : SavedRun
        From :func:`regimeslot.evaluation.folder.read_run`.
    models : mapping of str to Forecaster
        Of ``saved.every_model``, as loaded; they are moved.
    prices, market : Prices, optional
        The run's series up to date, as for :func:`regimeslot.evaluation.resume.resume`.
    now : datetime, optional
        With a time zone; default the clock.
    wait : float
        Seconds to wait for another update of this run to end.
    progress : callable, optional
        Called with (models done, models in all, the one under way).

    Returns
    -------
    Updated

    Raises
    ------
    InvalidInputError
        If a model is missing, or nothing can be written in the folder.
    DataError
        If the prices are not those of the run; ``BadFileError`` if the folder or its record is
        damaged.
    RegimeslotError
        If another update still runs after ``wait`` seconds, or the record cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from regimeslot import fit_run, load_prices
    >>> from regimeslot.evaluation.folder import read_run, run_record, write_folder, write_tables
    >>> from regimeslot.evaluation.run import RunSettings
    >>> options = {"source": "bundled", "start": "2019-01-01"}
    >>> run = fit_run(load_prices("KO", end="2022-12-21", **options), RunSettings(models=("mean",)))
    >>> asked = run_record(run, request={**options, "file": None})
    >>> with TemporaryDirectory() as place:
    ...     made = write_folder(Path(place, "run"), lambda draft: write_tables(draft, run, asked))
    ...     done = update(read_run(made), run.models, load_prices("KO", **options))
    >>> done.added, done.record.moves.round(4).tolist()
    (5, [-0.0072, 0.0075, 0.0061, -0.01])
    >>> int(done.table["y"].notna().sum())
    4
    """
    with hold(saved.folder, wait=wait):
        moment = now or datetime.now(UTC)  # after the waiting: it says what was made in time
        record = open_record(saved)
        notes: tuple[str, ...] = ()
        if record.torn:
            notes = (
                f"The last line of {record.path} was cut off and is dropped; what it was to hold "
                "is recorded anew.",
            )
        resumed = resume(
            saved, models, prices, market, record=record, now=moment, progress=progress
        )
        corrections = _corrections(resumed, moment)
        bars = _bars(saved, resumed, record, moment)
        if corrections or bars or record.torn:
            record = append(record, [*corrections, *bars])
    table = record_table(record)
    date = pd.Timestamp(resumed.description["date"])
    return Updated(
        resumed,
        record,
        len(bars),
        table,
        record_scores(record, table),
        is_over(date, moment, resumed.prices.index, resumed.prices.symbol),
        (*notes, *resumed.notes),
    )


def _corrections(resumed: Resumed, now: datetime) -> list[dict[str, Any]]:
    """The line that says which moves are no longer what they were."""
    own = _changes(resumed.news)
    other = {} if resumed.market is None else _changes(resumed.market)
    if not own and not other:
        return []
    more = {"corrected_market": other} if other else {}
    stamp = {"made_at": _utc(now), "version": regimeslot.__version__}
    return [{"corrected": own, **more, **stamp, "notes": list(resumed.news.notes)}]


def _changes(news: News) -> dict[str, dict[str, float]]:
    def change(was_now: Correction) -> dict[str, float]:
        return {"was": was_now[0], "now": was_now[1]}

    return {_day(day): change(change_) for day, change_ in news.corrected.items()}


def _bars(saved: SavedRun, resumed: Resumed, record: Record, now: datetime) -> list[dict[str, Any]]:
    """A line for each bar that the record has no forecasts after."""
    history = resumed.news.history
    after = history.dates
    index, symbol = history.index, saved.record["data"]["symbol"]
    market = _MarketMoves(resumed, record)
    told = {
        name: dict(zip(after[-len(forecast) :], describe_forecasts(forecast), strict=True))
        for name, forecast in resumed.forecasts.items()
    }
    lines = []
    for place, bar in enumerate(after):
        if bar in record.bars:
            continue
        last = place + 1 == len(after)
        target = pd.Timestamp(resumed.description["date"]) if last else after[place + 1]
        line: dict[str, Any] = {
            "bar": _day(bar),
            "close": float(history.closes[bar]),
            "return": float(history.moves[bar]) if place else None,
            "next": _day(target),
            "made_at": _utc(now),
            "after_the_fact": not last or is_over(target, now, index, symbol),
            "version": regimeslot.__version__,
            "source": resumed.prices.source,
        }
        if place == 0:
            line |= _by_the_fit(saved, resumed, index)
        line["forecasts"] = {name: rows[bar] for name, rows in told.items()}
        line |= market.until(bar)
        if bar in resumed.news.remarks:
            line["note"] = resumed.news.remarks[bar]
        lines.append(line)
    return lines


class _MarketMoves:
    """Moves of the second series that no line holds yet, given out bar by bar."""

    def __init__(self, resumed: Resumed, record: Record) -> None:
        known = record.market_moves.index
        moves = None if resumed.market is None else resumed.market.history.moves
        self.left = None if moves is None else moves[~moves.index.isin(known)]

    def until(self, bar: pd.Timestamp) -> dict[str, dict[str, float]]:
        """Those up to a bar, as a part of its line."""
        if self.left is None:
            return {}
        taken, self.left = self.left[self.left.index <= bar], self.left[self.left.index > bar]
        return {"market": {_day(day): float(taken[day]) for day in pd.DatetimeIndex(taken.index)}}


def _by_the_fit(saved: SavedRun, resumed: Resumed, index: pd.DatetimeIndex) -> dict[str, Any]:
    """When the first forecast was made: with the fit, if these models give what the fit said."""
    told = saved.record["forecast"]
    first = resumed.forecasts[saved.settings["main"]][0]  # the record has none, so this is it
    quantiles = first.quantile([float(p) for p in told["quantiles"]])[0]
    pairs = zip(quantiles, told["quantiles"].values(), strict=True)
    scale = abs(float(told["std"] or 1.0))
    same = all(
        was is not None and math.isclose(now, was, rel_tol=_AGREE, abs_tol=_AGREE * scale)
        for now, was in pairs
    )
    if not same or not saved.record.get("created"):
        return {}
    created = datetime.fromisoformat(saved.record["created"])
    date = pd.Timestamp(told["date"])
    return {
        "next": _day(date),
        "made_at": _utc(created),
        "after_the_fact": is_over(date, created, index, saved.record["data"]["symbol"]),
        "version": saved.record.get("versions", {}).get("regimeslot", regimeslot.__version__),
        "source": saved.record["data"]["source"],
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _day(day: pd.Timestamp) -> str:
    return f"{day:%Y-%m-%d}"
