"""Forecast the next session from a saved run: move its models past the new rows, fit nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.errors import BadFileError, InvalidInputError
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


@dataclass(frozen=True, eq=False)
class Resumed:
    """The next session's distribution by the models of a saved run.

    Attributes
    ----------
    forecast : one-row MixtureForecast of the main model
    description : dict, the same as plain data, as ``forecast`` in ``fit.json``
    prices : Prices that the forecast was made from
    sessions : int, rows since the fit
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
    features come from ``prices`` alone, so that a restated history cannot leave a seam.

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
    """
    missing = [name for name in saved.models if name not in models]
    if missing:
        raise InvalidInputError(f"the run's model(s) {', '.join(missing)} are needed, got none")
    own = saved.prices()
    notes: tuple[str, ...] = ()
    if prices is None or prices.last <= own.last:
        prices, market = own, saved.market()
    else:
        prices = replace(  # from the run's first day on: its features start where the fit's did
            prices,
            frame=prices.frame.loc[own.index[0] :],
            ticker=own.ticker,
            proxy_for=own.proxy_for,
        )
        notes = _changes(own, prices, saved.settings["transform"])
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
    sessions = int((prices.index > own.last).sum())
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


def _changes(own: Prices, prices: Prices, transform: str) -> tuple[str, ...]:
    """What the new history says differently about the days of the fit."""
    before, after = (_moves(series.frame["Close"], transform) for series in (own, prices))
    both = before.index.intersection(after.index)
    notes = []
    gone = len(before) - len(both)
    if gone:
        notes.append(
            f"{gone} of the {len(before)} sessions that the run was fitted on are missing from "
            f"the new prices of {prices.symbol}."
        )
    apart = (after[both] - before[both]).abs().to_numpy()
    differs = apart > _NOISE * float(np.std(before.to_numpy()))
    if differs.any():
        worst = both[int(np.argmax(apart))]
        size = f"{100 * apart.max():.2g} %" if transform == "log-return" else f"{apart.max():.2g}"
        notes.append(
            f"The history of {prices.symbol} was restated: {int(differs.sum())} of {len(both)} "
            f"returns differ from those of the fit, by up to {size} ({worst:%Y-%m-%d}); the new "
            "ones are used."
        )
    return tuple(notes)


def _moves(close: pd.Series, transform: str) -> pd.Series:
    moves = np.log(close).diff() if transform == "log-return" else close.diff()
    return moves.iloc[1:]
