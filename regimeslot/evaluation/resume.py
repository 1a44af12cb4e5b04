"""Bring a saved run up to date: move its models past the bars since the fit, fit nothing.

``regimeslot forecast`` and ``regimeslot update`` both rest on this; the second also records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.errors import BadFileError, InvalidInputError
from regimeslot.evaluation.folder import SavedRun
from regimeslot.evaluation.record import Record, open_record
from regimeslot.evaluation.regimes import RegimeView
from regimeslot.evaluation.resume_history import History, News
from regimeslot.evaluation.run import describe_forecast
from regimeslot.features import Dataset, make_dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Forecaster
from regimeslot.models.markov_forecaster import MarkovForecaster
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.prices import Prices, next_session

__all__ = ["Resumed", "resume"]

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Resumed:
    """The models of a saved run after the last known bar, and what they forecast.

    Attributes
    ----------
    forecast : one-row MixtureForecast of the main model, for the session after the last bar
    description : dict, the same as plain data, as ``forecast`` in ``fit.json``
    prices : Prices that the forecast was made from
    sessions : int, bars since the fit that the models moved past
    notes : tuple of str, what changed in the history, what is odd about the new bars
    news : News, of the series
    market : News or None, of the run's second series
    forecasts : dict of MixtureForecast
        One step ahead, by model; each row on the date of the bar after which it is made. From the
        first bar that the record has none for; always the last bar's.
    """

    forecast: MixtureForecast
    description: dict[str, Any]
    prices: Prices
    sessions: int
    notes: tuple[str, ...]
    news: News
    market: News | None
    forecasts: dict[str, MixtureForecast]


def resume(
    saved: SavedRun,
    models: Mapping[str, Forecaster],
    prices: Prices | None = None,
    market: Prices | None = None,
    *,
    record: Record | None = None,
    end: pd.Timestamp | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Resumed:
    """Forecast the session after the last bar, with the parameters of a saved run.

    The states of the models move past the bars since the fit: those in the run's record, and those
    that ``prices`` add. Only moves are taken from ``prices``, so that a rescaled history leaves no
    seam; where the move into a bar since the fit was restated, the new one is used.

    Parameters
    ----------
    saved : SavedRun
    models : mapping of str to Forecaster
        ``saved.models`` at least, as loaded; they are moved.
    prices : Prices, optional
        The series up to date; without, the run's fit and its record are all that is known.
    market : Prices, optional
        The second series up to date, for a run that has one.
    record : Record, optional
        The run's record, read from its folder by default.
    end : Timestamp, optional
        Bars after it are not used.
    now : datetime, optional
        With a time zone; bars whose day is not over by then are not used. Default: the clock.
    progress : callable, optional
        Called with (models done, models in all, the one under way).

    Returns
    -------
    Resumed

    Raises
    ------
    InvalidInputError
        If a model of the run is missing, or cannot use these rows.
    DataError
        If ``prices`` share no moves with the run's own, or most of those they share differ.
    BadFileError
        If the folder's tables or its record are damaged.
    """
    missing = [name for name in saved.models if name not in models]
    if missing:
        raise InvalidInputError(f"the run's model(s) {', '.join(missing)} are needed, got none")
    moment = now or datetime.now(UTC)
    held = open_record(saved) if record is None else record
    news = _read(
        History(saved.prices(), held.moves, saved.settings["transform"]), prices, end, moment
    )
    second, own_market = None, saved.market()
    if own_market is not None:
        series = History(own_market, held.market_moves, "log-return")
        second = _read(series, market, end, moment, gaps=False)
    history = news.history
    source = prices if prices is not None and news.new else None
    known = history.prices(source)
    date = next_session(known.index, known.symbol)
    dataset = make_dataset(
        known,
        horizon=saved.settings["horizon"],
        transform=saved.settings["transform"],
        market=None if second is None else second.history.closes.to_frame("Close"),
        next_date=date,
        name=known.ticker,
    )
    forecasts = {}
    for number, (name, model) in enumerate(models.items()):
        if progress is not None:
            progress(number, len(models), name)
        forecasts[name] = _forecasts(saved, model, dataset, history.dates, held)
    if progress is not None:
        progress(len(models), len(models), "")
    main = saved.settings["main"]
    last = forecasts[main][-1]
    regimes = _regimes(saved, models, dataset, forecasts)
    description = describe_forecast(last, date, main, saved.settings["horizon"], regimes)
    notes = (*news.notes, *(second.notes if second else ()))
    notes += tuple(note for note in dataset.notes if note not in known.notes)
    sessions = len(history.moves)
    return Resumed(last, description, known, sessions, notes, news, second, forecasts)


def _read(
    history: History,
    prices: Prices | None,
    end: pd.Timestamp | None,
    now: datetime,
    *,
    gaps: bool = True,
) -> News:
    if end is not None:
        history = history.until(end)
    return News(history) if prices is None else history.read(prices, now, gaps=gaps)


def _forecasts(
    saved: SavedRun, model: Forecaster, dataset: Dataset, after: pd.DatetimeIndex, record: Record
) -> MixtureForecast:
    """One-step forecasts of a model after each bar, from the first that the record has not."""
    since = dataset.X.index > saved.last_row
    parts = [dataset.X[since], dataset.unfinished_X, dataset.next_X]
    rows = pd.concat([part for part in parts if part is not None and len(part)])
    y = np.full(len(rows), np.nan)
    y[: since.sum()] = dataset.y[since]
    # Targets that were not whole at the fit stand before the row of its next session.
    lead = len(rows) - len(after)
    first = next((i for i, day in enumerate(after) if day not in record.bars), len(after) - 1)
    seen = int(min(max(lead + first - dataset.delay, 0), since.sum()))
    if seen:
        model.update(rows[:seen], y[:seen])
    forecast = model.predict(rows[seen:], y[seen:])[slice(lead + first - seen, None)]
    return MixtureForecast(*forecast.parameters, index=after[first:], labels=forecast.labels)


def _regimes(
    saved: SavedRun,
    models: Mapping[str, Forecaster],
    dataset: Dataset,
    forecasts: Mapping[str, MixtureForecast],
) -> list[dict[str, Any]] | None:
    """Regimes of the next session, under the names that they have in the run."""
    name = saved.settings["regime_model"]
    if name is None:
        return None
    model = models[name]
    if not isinstance(model, MarkovForecaster | SlotForecaster):
        raise BadFileError(
            f"{saved.model_file(name)} holds a model without regimes: make the run again"
        )
    past, y = saved.forecasts(name)
    if past.n_components < 2:
        return None
    return RegimeView(dataset, past, model, y).now(forecasts[name][-1])
