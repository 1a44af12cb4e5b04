"""Forecast the next session from a saved run: move its models past the new rows, fit nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import BadFileError, DataError, InvalidInputError
from regimeslot.evaluation.folder import SavedRun
from regimeslot.evaluation.regimes import RegimeView
from regimeslot.evaluation.run import describe_forecast, next_forecast
from regimeslot.features import Dataset, make_dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Forecaster
from regimeslot.models.markov_forecaster import MarkovForecaster
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.prices import Prices, next_session

__all__ = ["Resumed", "resume"]

# Two downloads of one day agree to 1e-7, the smallest real change of a daily return (a dividend
# that came late) is near 1e-3: a thousandth of the moves' standard deviation lies between.
_NOISE = 1e-3
# Prices rounded to cents move daily returns by a hundredth of their standard deviation, another
# series by a half: where most moves are further apart than this, it is not the run's series.
_ANOTHER = 0.05
_WORDS = {"log-return": "returns", "diff": "changes", "level": "values"}


@dataclass(frozen=True, eq=False)
class Resumed:
    """The next session's distribution by the models of a saved run.

    Attributes
    ----------
    forecast : one-row MixtureForecast of the main model
    description : dict, the same as plain data, as ``forecast`` in ``fit.json``
    prices : Prices that the forecast was made from
    sessions : int, rows since the fit that the models moved past
    notes : tuple of str, what changed in the history, what is odd about the new rows
    """

    forecast: MixtureForecast
    description: dict[str, Any]
    prices: Prices
    sessions: int
    notes: tuple[str, ...]


def resume(
    saved: SavedRun,
    models: Mapping[str, Forecaster],
    prices: Prices | None = None,
    market: Prices | None = None,
) -> Resumed:
    """Forecast the session after the last price, with the parameters of a saved run.

    The states of the models move with ``update`` past the rows after the run's last one; their
    features come from ``prices`` alone, so that a restated history cannot leave a seam; only where
    ``prices`` start later than the run's own are the days before taken from the run, at the level
    of the new ones.

    Parameters
    ----------
    saved : SavedRun
    models : mapping of str to Forecaster
        ``saved.models``, as loaded; they are moved.
    prices : Prices, optional
        The series up to date. Where it holds nothing newer, the run's own prices are used, and
        the forecast is the run's own.
    market : Prices, optional
        The second series up to date, for a run that has one.

    Returns
    -------
    Resumed

    Raises
    ------
    InvalidInputError
        If a model of the run is missing, or cannot use these rows.
    DataError
        If ``prices`` share no moves with the run's own, or most of those they share differ.
    """
    missing = [name for name in saved.models if name not in models]
    if missing:
        raise InvalidInputError(f"the run's model(s) {', '.join(missing)} are needed, got none")
    own = saved.prices()
    notes: tuple[str, ...] = ()
    transform = saved.settings["transform"]
    if prices is not None:
        _require_same_series(own, prices, transform)
    if prices is None or prices.last <= own.last:
        prices, market = own, saved.market()
    else:
        prices, notes = _joined(own, prices, transform)
        notes += _changes(own, prices, transform)
        if saved.record.get("market") and market is None:
            market = saved.market()
    settings = saved.settings
    date = next_session(prices.frame.index, prices.symbol)
    dataset = make_dataset(
        prices,
        horizon=settings["horizon"],
        transform=settings["transform"],
        market=market,
        next_date=date,
        name=prices.ticker,
    )
    new = dataset.X.index > saved.last_row
    if new.any():
        for model in models.values():
            model.update(dataset.X[new], dataset.y[new])
    forecast = next_forecast(models[settings["main"]], dataset)
    description = describe_forecast(
        forecast, date, settings["main"], settings["horizon"], _regimes(saved, models, dataset)
    )
    moved = [dataset.X, *([] if dataset.unfinished_X is None else [dataset.unfinished_X])]
    sessions = sum(int((rows.index > own.last).sum()) for rows in moved)
    notes += tuple(note for note in dataset.notes if note not in prices.notes)
    return Resumed(forecast, description, prices, sessions, notes)


def _regimes(
    saved: SavedRun, models: Mapping[str, Forecaster], dataset: Dataset
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
    return RegimeView(dataset, past, model, y).now(next_forecast(model, dataset))


def _require_same_series(own: Prices, prices: Prices, transform: str) -> None:
    """Refuse prices that the run's models know nothing about."""
    before, both, apart = _apart(own, prices, transform)
    if both.empty:
        raise DataError(
            f"the new prices of {prices.symbol} ({prices.index[0]:%Y-%m-%d} to "
            f"{prices.last:%Y-%m-%d}) share no two days with the run's ({own.index[0]:%Y-%m-%d} to "
            f"{own.last:%Y-%m-%d}), so nothing shows that they are the same series: give prices "
            "that begin before the run's last day"
        )
    differ = int((apart > _ANOTHER * _spread(before, transform)).sum())
    if 2 * differ > len(both):
        raise DataError(
            f"the new prices of {prices.symbol} are not the series of the run ({own.symbol}): "
            f"{differ} of {len(both)} {_WORDS[transform]} on the same days differ; give that "
            "series, or fit this one"
        )


def _joined(own: Prices, prices: Prices, transform: str) -> tuple[Prices, tuple[str, ...]]:
    """The new prices from the run's first day on: its features start where the fit's did."""
    new = prices.frame.loc[own.index[0] :]
    start = new.index[0]
    notes: tuple[str, ...] = ()
    earlier = own.frame[own.index < start]
    if len(earlier):
        day = new.index.intersection(own.index)[:1]
        was, now = (float(frame["Close"][day].iloc[0]) for frame in (own.frame, new))
        shared = new.columns.intersection(own.frame.columns)
        quotes = shared.drop("Volume", errors="ignore")
        earlier = earlier[shared].copy()
        if transform == "log-return":
            earlier[quotes] *= now / was
        elif transform == "diff":
            earlier[quotes] += now - was
        new = pd.concat([earlier, new[shared]])
        notes = (
            f"The new prices of {prices.symbol} start on {start:%Y-%m-%d}; the {len(earlier)} rows "
            "before are those of the run.",
        )
    return replace(prices, frame=new, ticker=own.ticker, proxy_for=own.proxy_for), notes


def _changes(own: Prices, prices: Prices, transform: str) -> tuple[str, ...]:
    """What the new history says differently about the days of the fit."""
    before, both, apart = _apart(own, prices, transform)
    notes = []
    gone = len(before) - len(both)
    if gone:
        notes.append(
            f"{gone} of the {len(before)} sessions that the run was fitted on are missing from "
            f"the new prices of {prices.symbol}."
        )
    differs = apart > _NOISE * _spread(before, transform)
    if differs.any():
        worst = both[int(np.argmax(apart))]
        size = f"{100 * apart.max():.2g} %" if transform == "log-return" else f"{apart.max():.2g}"
        notes.append(
            f"The history of {prices.symbol} was restated: {int(differs.sum())} of {len(both)} "
            f"{_WORDS[transform]} differ from those of the fit, by up to {size} "
            f"({worst:%Y-%m-%d}); the new ones are used."
        )
    return tuple(notes)


def _apart(
    own: Prices, prices: Prices, transform: str
) -> tuple[pd.Series, pd.Index, NDArray[np.float64]]:
    """Moves of the run, the days that the new prices have too, how far apart they are there."""
    before, after = (_moves(series.frame["Close"], transform) for series in (own, prices))
    both = before.index.intersection(after.index)
    return before, both, (after[both] - before[both]).abs().to_numpy(dtype=float)


def _spread(moves: pd.Series, transform: str) -> float:
    """Standard deviation of what is new in a row, in the unit of the moves."""
    return float(np.std((moves.diff().dropna() if transform == "level" else moves).to_numpy()))


def _moves(close: pd.Series, transform: str) -> pd.Series:
    if transform == "level":
        return close.iloc[1:]
    moves = np.log(close).diff() if transform == "log-return" else close.diff()
    return moves.iloc[1:]
