"""One run: from prices to a walk-forward, final fits and the next session's distribution."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

import regimeslot
from regimeslot.errors import InvalidInputError, RegimeslotError, TooFewRowsError
from regimeslot.evaluation.overlay import OVERLAY_BASELINE, Overlay, overlay
from regimeslot.evaluation.regime_value import regime_value
from regimeslot.evaluation.regimes import RegimeView
from regimeslot.evaluation.rounding import rounding_note
from regimeslot.evaluation.stability import RegimeStability, regime_stability
from regimeslot.evaluation.walk_forward import Study, walk_forward
from regimeslot.features import Dataset, make_dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Forecaster
from regimeslot.models.catalogue import CATALOGUE, make_forecaster
from regimeslot.models.pool import Pool
from regimeslot.models.slot_lstm_forecaster import SlotLSTMForecaster
from regimeslot.prices import Prices, infer_frequency, next_session

__all__ = [
    "DEFAULT_MODELS",
    "QUANTILES",
    "Run",
    "RunSettings",
    "fit_run",
    "next_forecast",
]

DEFAULT_MODELS = tuple(name for name, entry in CATALOGUE.items() if entry.default)
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)

# Preferred first: the model that gives the run's forecast, and the one whose regimes are shown.
_MAIN = ("pool", "slots-sticky", "slots-markov", "slots-single", "slots-static")
# Feature-free regimes come first: there a regime is a level of volatility that lasts, while slots
# that share volatility features only divide what the features leave over.
_REGIMES = ("markov-t", "markov", "slots-sticky", "slots-markov", "slots-softmax", "slots-static")

_TRAIN_ROWS = 2500  # ten years of days
_LEAST_ROWS = 100  # of a first fit
_ROWS_A_YEAR = {"daily": 252, "weekly": 52, "monthly": 12, "quarterly": 4, "yearly": 1}
_PACKAGES = ("numpy", "pandas", "scipy", "arch", "statsmodels", "scikit-learn", "torch")


@dataclass(frozen=True)
class RunSettings:
    """What a run does; together with the data it reproduces the run.

    Attributes
    ----------
    models : names of the catalogue
    horizon : rows that the target covers
    transform : "log-return", "diff" or "level"
    train_size : returns before the first forecast; None takes 2,500, or half of a shorter series
    refit_every : rows between refits; None takes a year of rows
    seed : seed of everything random
    rounded_to : step to which the series was published, for interval scores; None scores densities
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    horizon: int = 1
    transform: str = "log-return"
    train_size: int | None = None
    refit_every: int | None = None
    seed: int = 0
    rounded_to: float | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that ``regimeslot fit`` finds out, ready for the screen, the report and JSON.

    Attributes
    ----------
    prices : Prices
    dataset : Dataset
    study : Study, the walk-forward
    models : dict of fitted Forecaster, final fits on every row
    next_date : Timestamp of the next session, the first day of the forecast
    next_forecasts : dict of one-row MixtureForecast by model
    main : name of the model that gives the run's forecast
    regime_model : name of the model whose regimes are shown, or None
    settings : RunSettings with every default resolved
    versions : dict
    created : datetime, UTC
    command : the command line that reproduces the run, or ""
    """

    prices: Prices
    dataset: Dataset
    study: Study
    models: dict[str, Forecaster]
    next_date: pd.Timestamp
    next_forecasts: dict[str, MixtureForecast]
    main: str
    regime_model: str | None
    settings: RunSettings
    versions: dict[str, str] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    command: str = ""

    @property
    def forecast(self) -> MixtureForecast:
        """The next session's distribution by the main model."""
        return self.next_forecasts[self.main]

    @property
    def regimes(self) -> RegimeView | None:
        """Regimes of the regime model, or None where no such model was run."""
        if self.regime_model is None:
            return None
        return RegimeView.of(self.study, self.models[self.regime_model], self.regime_model)

    @cached_property
    def stability(self) -> RegimeStability | None:
        """How the refits of the regime model label the same rows; None without such a model."""
        if self.regime_model is None:
            return None
        return regime_stability(self.study, self.regime_model)

    @cached_property
    def overlay(self) -> Overlay | None:
        """Volatility-targeted overlay of the main model, beside that of the baseline."""
        return overlay(self.study, (self.main, OVERLAY_BASELINE), seed=self.settings.seed)

    def regime_probabilities(self) -> pd.DataFrame:
        """Predicted probability of each regime at every forecast row, out of sample."""
        return pd.DataFrame() if self.regimes is None else self.regimes.probabilities()

    def regime_table(self) -> pd.DataFrame:
        """Each regime in numbers and words; empty without a regime model."""
        return pd.DataFrame() if self.regimes is None else self.regimes.table()

    def regime_outlook(self, steps: int = 21) -> pd.DataFrame:
        """Probability of each regime 1 .. ``steps`` sessions ahead, with today's features held."""
        return pd.DataFrame() if self.regimes is None else self.regimes.outlook(steps)

    def transition_matrix(self) -> pd.DataFrame:
        """Transition probabilities into the next session."""
        return pd.DataFrame() if self.regimes is None else self.regimes.transition()

    def expected_time_left(self) -> float:
        """Expected sessions left in the most probable regime, h / (1 - P_kk); NaN without one."""
        return math.nan if self.regimes is None else self.regimes.expected_time_left()

    def to_json(self) -> dict[str, Any]:
        """The contents of ``fit.json``."""
        scores = self.study.scores()
        comparisons = self.study.compare()
        returns = self.dataset.returns
        return {
            "data": {
                "ticker": self.prices.ticker,
                "symbol": self.prices.symbol,
                "source": self.prices.source,
                "proxy_for": self.prices.proxy_for,
                "as_of": None if self.prices.as_of is None else str(self.prices.as_of),
                "first": _day(self.prices.frame.index[0]),
                "last": _day(self.prices.frame.index[-1]),
                "rows": len(self.prices.frame),
                "notes": list(self.prices.notes),
                "transform": self.dataset.transform,
                "last_return_date": _day(returns.index[-1]),
            },
            "models": {
                name: {k: _number(v) for k, v in row.items()}
                for name, row in scores.to_dict("index").items()
            },
            "failures": self.study.failures,
            "rows_forecast": {
                "first": _day(self.study.y.index[0]),
                "last": _day(self.study.y.index[-1]),
                "rows": len(self.study.y),
            },
            "comparisons": [
                {k: v if isinstance(v, str) else _number(v) for k, v in row.items()}
                for row in comparisons.to_dict("records")
            ],
            "forecast": self.forecast_json(),
            "regimes": self._regimes_json(),
            "regime_value": _finite(regime_value(self.study).to_json()),
            "overlay": None if self.overlay is None else _finite(self.overlay.to_json()),
            "settings": {
                "models": list(self.settings.models),
                "horizon": self.settings.horizon,
                "transform": self.settings.transform,
                "train_size": self.settings.train_size,
                "refit_every": self.settings.refit_every,
                "seed": self.settings.seed,
                "rounded_to": self.settings.rounded_to,
                "main": self.main,
                "regime_model": self.regime_model,
                "command": self.command,
            },
            "versions": self.versions,
            "created": self.created.isoformat(timespec="seconds"),
        }

    def _regimes_json(self) -> dict[str, Any] | None:
        """The regimes of the regime model, and whether its refits agree on them."""
        if self.regimes is None:
            return None
        stability = None if self.stability is None else self.stability.to_json()
        found = {"model": self.regime_model, **self.regimes.to_json(), "stability": stability}
        return dict(_finite(found))

    def forecast_json(self) -> dict[str, Any]:
        """The next session's distribution as plain data."""
        regimes = None
        if self.regimes is not None:
            regimes = self.regimes.now(self.next_forecasts[str(self.regime_model)])
        return describe_forecast(
            self.forecast, self.next_date, self.main, self.settings.horizon, regimes
        )


def describe_forecast(
    forecast: MixtureForecast,
    date: pd.Timestamp,
    model: str,
    horizon: int,
    regimes: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """A one-row forecast as plain data: moments, quantiles, risk, regimes."""
    quantiles = forecast.quantile(np.array(QUANTILES))[0]
    return {
        "date": _day(date),
        "model": model,
        "horizon": horizon,
        "mean": _number(forecast.mean()[0]),
        "std": _number(forecast.std()[0]),
        "quantiles": {f"{p:g}": _number(q) for p, q in zip(QUANTILES, quantiles, strict=True)},
        "probability_of_loss": _number(forecast.probability_of_loss()[0]),
        "var_1": _number(forecast.value_at_risk(0.01)[0]),
        "var_5": _number(forecast.value_at_risk(0.05)[0]),
        "es_1": _number(forecast.expected_shortfall(0.01)[0]),
        "es_5": _number(forecast.expected_shortfall(0.05)[0]),
        "regimes": regimes or [],
    }


def fit_run(
    prices: Prices,
    settings: RunSettings | None = None,
    *,
    market: Prices | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    command: str = "",
) -> Run:
    """Walk forward, fit every model on all rows, and forecast the next session.

    Parameters
    ----------
    prices : Prices
        From :func:`regimeslot.load_prices`.
    settings : RunSettings, optional
    market : Prices, optional
        A second series, usually the index, for market features.
    progress : callable, optional
        Called with (steps done, steps in all, what is under way).
    command : str
        Written into the outputs.

    Returns
    -------
    Run

    Raises
    ------
    TooFewRowsError
        If the series is too short to fit and to forecast.
    InvalidInputError
        If a model or a setting is unknown.

    Examples
    --------
    >>> from regimeslot import fit_run, load_prices
    >>> from regimeslot.evaluation.run import RunSettings
    >>> prices = load_prices("KO", source="bundled", start="2019-01-01")
    >>> run = fit_run(prices, RunSettings(models=("mean", "linear")))
    >>> run.next_forecasts["mean"].interval(0.9).round(3).tolist()
    [[-0.022, 0.023]]
    >>> list(run.study.scores().index)
    ['mean', 'linear']
    """
    settings = settings or RunSettings()
    for name in settings.models:  # an unknown name is said before anything is computed
        make_forecaster(name)
    if settings.rounded_to is not None and settings.transform == "log-return":
        raise InvalidInputError(
            f"rounded_to={settings.rounded_to:g} is for values and changes: returns of a rounded "
            'price are not rounded; use transform="diff" or "level", or leave it out'
        )
    next_date = next_session(prices.frame.index, prices.symbol)
    dataset = make_dataset(
        prices,
        horizon=settings.horizon,
        transform=settings.transform,
        market=market,
        next_date=next_date,
        name=prices.ticker,
    )
    settings = _resolved(settings, prices, dataset)
    rounding = rounding_note(prices.frame["Close"], settings.transform)
    if rounding is not None and settings.rounded_to is None:
        dataset = replace(dataset, notes=(*dataset.notes, rounding))
    study = walk_forward(
        list(settings.models),
        dataset,
        train_size=settings.train_size or 0,
        refit_every=settings.refit_every or 1,
        random_state=settings.seed,
        rounded_to=settings.rounded_to,
        progress=progress,
    )
    models, forecasts = _final_fits(study)
    dataset = replace(dataset, notes=(*dataset.notes, *_unused_memory(models)))
    return Run(
        prices,
        dataset,
        study,
        models,
        next_date,
        forecasts,
        next((name for name in _MAIN if name in models), next(iter(models))),
        next((name for name in _REGIMES if name in models), None),
        settings,
        _versions(),
        command=command,
    )


def _resolved(settings: RunSettings, prices: Prices, dataset: Dataset) -> RunSettings:
    """Fill in the defaults that depend on the series' length and frequency."""
    frequency = infer_frequency(prices.frame.index)
    n_returns = dataset.skipped + len(dataset)
    least, most = dataset.skipped + _LEAST_ROWS, n_returns - 1
    if least > most:
        raise TooFewRowsError(
            f"{n_returns} returns with a whole target are too few: the features take the first "
            f"{dataset.skipped}, a first fit {_LEAST_ROWS} more, and some must be left to forecast"
        )
    train = settings.train_size
    if train is None:
        train = min(_TRAIN_ROWS, max(least, dataset.skipped + len(dataset) // 2))
    if not least <= train <= most:
        raise InvalidInputError(
            f"train_size must be between {least} and {most} for this series, got {train}"
        )
    refit = settings.refit_every or _ROWS_A_YEAR.get(frequency, 252)
    return replace(settings, train_size=train, refit_every=refit)


def _final_fits(study: Study) -> tuple[dict[str, Forecaster], dict[str, MixtureForecast]]:
    """Each model of the study on every row, from its last solution, and its next forecast.

    Pools share their members' fits. A model that fails here goes to the study's failures.
    """
    dataset = study.dataset
    fitted: dict[str, Forecaster] = {}
    forecasts: dict[str, MixtureForecast] = {}
    for name, model in sorted(study.models.items(), key=lambda item: isinstance(item[1], Pool)):
        try:
            if isinstance(model, Pool) and all(member in fitted for member in model.members):
                members = {member: fitted[member] for member in model.members}
                model.set_state({"members_": members})
            else:
                model.fit(dataset.X, dataset.y)
            forecasts[name] = next_forecast(model, dataset)
        except RegimeslotError as error:
            study.failures[name] = f"its final fit on all rows: {error}"
            continue
        fitted[name] = model
    if not fitted:
        raise RegimeslotError(f"every final fit failed; the first: {study.failures}")
    order = [name for name in study.models if name in fitted]
    return {n: fitted[n] for n in order}, {n: forecasts[n] for n in order}


def _unused_memory(models: Mapping[str, Forecaster]) -> list[str]:
    """A sentence for each network whose forecasts are not those of a network."""
    return [
        f"{name}: in the final fit its memory does not help, so that the next forecasts are those "
        "of its experts alone."
        for name, model in models.items()
        if isinstance(model, SlotLSTMForecaster) and not model.networks_in_use
    ]


def next_forecast(model: Forecaster, dataset: Dataset) -> MixtureForecast:
    """Forecast for the session after the last price, by a model whose state is at the last row."""
    if dataset.next_X is None:
        raise InvalidInputError("the dataset has no row for the next session")
    rows = dataset.next_X
    if dataset.unfinished_X is not None and len(dataset.unfinished_X):
        rows = pd.concat([dataset.unfinished_X, rows])
    return model.predict(rows, np.full(len(rows), np.nan))[slice(len(rows) - 1, None)]


def _versions() -> dict[str, str]:
    versions = {"regimeslot": regimeslot.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _finite(value: Any) -> Any:
    """Plain data in which what is not a finite number is None."""
    if isinstance(value, dict):
        return {str(key): _finite(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(held) for held in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _day(label: Any) -> str:
    return label.date().isoformat() if isinstance(label, pd.Timestamp) else str(label)
