"""Walk-forward: fit, forecast until the next refit, move on; every model on the same rows."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError, RegimeslotError
from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.evaluation.scores import (
    check_width,
    expanding_mean,
    last_known,
    log_score,
    score_table,
)
from regimeslot.features import Dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Forecaster
from regimeslot.models.catalogue import Setting, make_forecaster
from regimeslot.models.markov_forecaster import MarkovForecaster
from regimeslot.models.pool import Pool
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.windows import Fold, walk_forward_folds

__all__ = ["REFERENCES", "Study", "walk_forward"]

Progress = Callable[[int, int, str], None]

# Models that every other is compared with, where they are part of the study.
REFERENCES = ("linear", "markov", "gjr-garch", "egarch-skewt", "slots-single", "slots-static")


@dataclass(frozen=True, eq=False)
class Study:
    """Forecasts of several models on the same rows, each made before its row.

    Attributes
    ----------
    dataset : Dataset
        The rows and their targets.
    folds : tuple of Fold
        Training and test rows of every refit.
    forecasts : dict of MixtureForecast
        By model name; row i of each belongs to row ``rows[i]`` of the dataset.
    seconds : dict of float
        CPU seconds of each model's fits and forecasts; a pool's are its members'.
    models : dict of Forecaster
        As fitted at the last refit.
    failures : dict of str
        Models that could not be run, and why.
    settings : dict
        What reproduces the study.
    rounded_to : float or None
        Step to which the targets were rounded: log scores are then those of the intervals that
        they stand for, :func:`regimeslot.evaluation.scores.log_score`.
    refits : dict of tuple of Forecaster
        The fit of every fold, of the models whose slots or regimes may change with it.
    """

    dataset: Dataset
    folds: tuple[Fold, ...]
    forecasts: dict[str, MixtureForecast]
    seconds: dict[str, float]
    models: dict[str, Forecaster] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    rounded_to: float | None = None
    refits: dict[str, tuple[Forecaster, ...]] = field(default_factory=dict)

    @property
    def rows(self) -> slice:
        """Rows of the dataset that were forecast."""
        return slice(self.folds[0].test.start, self.folds[-1].test.stop)

    @property
    def y(self) -> pd.Series:
        """Realised targets of the forecast rows."""
        return self.dataset.y.iloc[self.rows]

    def between(self, start: object = None, end: object = None) -> Study:
        """The same study on the forecast rows from ``start`` to ``end`` (labels, both included)."""
        index = self.y.index
        left, right = index.slice_indexer(start, end).start, index.slice_indexer(start, end).stop
        if left >= right:
            raise InvalidInputError(
                f"no forecast rows between {start} and {end}: "
                f"they run from {index[0]} to {index[-1]}"
            )
        first = self.rows.start
        kept = [
            i
            for i, f in enumerate(self.folds)
            if f.test.stop > first + left and f.test.start < first + right
        ]
        folds = tuple(
            Fold(f.train, slice(max(f.test.start, first + left), min(f.test.stop, first + right)))
            for f in (self.folds[i] for i in kept)
        )
        forecasts = {n: f[slice(left, right)] for n, f in self.forecasts.items()}
        refits = {n: tuple(fits[i] for i in kept) for n, fits in self.refits.items()}
        return replace(self, folds=folds, forecasts=forecasts, refits=refits)

    def log_scores(self) -> pd.DataFrame:
        """Log score of every row and model, in nats."""
        return self._log_scores.copy()

    def log_score_of(self, forecast: MixtureForecast) -> NDArray[np.float64]:
        """Log score (n,) of another forecast of the same rows, by the same rule, in nats."""
        return log_score(forecast, self.y.to_numpy(), self.rounded_to)

    @cached_property
    def _log_scores(self) -> pd.DataFrame:
        return pd.DataFrame(
            {name: self.log_score_of(f) for name, f in self.forecasts.items()}, index=self.y.index
        )

    def scores(self) -> pd.DataFrame:
        """Scores of every model: log_score, crps, r2_oos, qlike, var_1_hit, var_5_hit, seconds.

        R2 is against the mean of what was known, for levels against the last known value.
        """
        return self._scores.copy()

    @cached_property
    def _scores(self) -> pd.DataFrame:
        naive = last_known if self.dataset.transform == "level" else expanding_mean
        benchmark = naive(self.dataset.y.to_numpy(), horizon=self.dataset.horizon)
        return score_table(
            self.forecasts,
            self.y.to_numpy(),
            benchmark[self.rows],
            seconds=self.seconds,
            rounded_to=self.rounded_to,
        )

    def compare(self, against: Sequence[str] | None = None) -> pd.DataFrame:
        """Diebold-Mariano comparison of log scores: gain of each model over each reference.

        The references are ``against``, else those of ``REFERENCES`` that were run, else all models.

        Columns: model, against, log_score_gain (nats a row, positive is better), t, p (two-sided,
        Newey-West with at least horizon - 1 lags).
        """
        scores = self.log_scores()
        unknown = [name for name in against or () if name not in scores]
        if unknown:
            raise InvalidInputError(
                f"no forecasts of {', '.join(unknown)}: the study has {', '.join(self.forecasts)}"
            )
        # A study without any usual reference compares every model with every other.
        wanted = list(against or [n for n in REFERENCES if n in scores] or scores)
        rows = []
        for reference in wanted:
            for name in scores:
                if name == reference:
                    continue
                test = diebold_mariano(
                    -scores[reference].to_numpy(),
                    -scores[name].to_numpy(),
                    horizon=self.dataset.horizon,
                )
                rows.append((name, reference, test.mean_difference, test.t, test.p))
        return pd.DataFrame(rows, columns=["model", "against", "log_score_gain", "t", "p"])


def walk_forward(
    models: Sequence[str] | Mapping[str, Forecaster],
    dataset: Dataset,
    *,
    train_size: int = 2500,
    refit_every: int = 252,
    expanding: bool = True,
    random_state: int | None = 0,
    rounded_to: float | None = None,
    progress: Progress | None = None,
) -> Study:
    """Forecast every row after the first ``train_size`` returns, each by a fit on rows before it.

    Refits start from the solution before. With horizon h the last h - 1 rows before a test row
    are purged from training, because their targets are not finished.

    Parameters
    ----------
    models : sequence of str, or mapping of str to Forecaster
        Names of the catalogue, or models of your own by name (they are cloned, not changed).
    dataset : Dataset
        From :func:`regimeslot.make_dataset`.
    train_size : int
        Returns of the series before the first forecast, counted from its beginning.
    refit_every : int
        Rows between refits; 252 is a year of trading days.
    expanding : bool
        Fit on everything so far, or on the last ``train_size`` rows only.
    random_state : int, optional
        Seed of the catalogue's models.
    rounded_to : float, optional
        Step to which the series was rounded, in its unit: scores the probability of what rounds
        to a value in place of the density at it.
    progress : callable, optional
        Called with (steps done, steps in all, what is under way).

    Returns
    -------
    Study

    Raises
    ------
    TooFewRowsError
        If no row is left to forecast.
    RegimeslotError
        If every model failed.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import make_dataset
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(700)
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates))
    >>> study = walk_forward(["mean", "linear"], data, train_size=500, refit_every=100)
    >>> list(study.scores().index)
    ['mean', 'linear']
    """
    if rounded_to is not None:
        rounded_to = check_width(rounded_to)
    setting = Setting(dataset.horizon, dataset.transform, random_state)
    if not isinstance(models, Mapping):
        models = {name: make_forecaster(name, setting) for name in models}
    if not models:
        raise InvalidInputError("walk_forward needs at least one model")
    _require_horizon(models, dataset.horizon)
    folds = walk_forward_folds(
        len(dataset),
        train_size=dataset.rows_before(train_size),
        refit_every=refit_every,
        purge=dataset.delay,
    )
    if not expanding:
        folds = tuple(
            Fold(slice(max(fold.train.stop - train_size, 0), fold.train.stop), fold.test)
            for fold in folds
        )
    forecasts: dict[str, MixtureForecast] = {}
    seconds: dict[str, float] = {}
    fitted: dict[str, Forecaster] = {}
    failures: dict[str, str] = {}
    refits: dict[str, tuple[Forecaster, ...]] = {}
    # A pool whose members are in the study combines their forecasts: nothing is fitted twice.
    shared = [name for name, m in models.items() if isinstance(m, Pool) and _shares(m, models)]
    order = [name for name in models if name not in shared]
    total, done = len(order) * len(folds), 0
    for name in order:
        for module in models[name].requires:
            importlib.import_module(module)
        began = time.process_time()
        model = models[name].clone(warm_start=True)
        parts, fits = [], []
        try:
            for fold in folds:
                if progress is not None:
                    progress(done, total, name)
                parts.append(_forecast_fold(model, dataset, fold))
                done += 1
                if isinstance(model, MarkovForecaster | SlotForecaster):
                    fits.append(deepcopy(model))
        except RegimeslotError as error:
            failures[name] = str(error)
            done = (order.index(name) + 1) * len(folds)
            continue
        fitted[name] = model
        if fits:
            refits[name] = tuple(fits)
        forecasts[name] = MixtureForecast.concat(parts)
        seconds[name] = time.process_time() - began
    for name in shared:
        pool = models[name]
        assert isinstance(pool, Pool)  # so chosen above
        lost = [member for member in pool.members if member in failures]
        if lost:
            failures[name] = f"its member(s) {', '.join(lost)} failed"
            continue
        forecasts[name] = pool.combine(forecasts)
        fitted[name] = pool.clone(warm_start=True).set_state(
            {"members_": {member: fitted[member] for member in pool.members}}
        )
        seconds[name] = sum(seconds[member] for member in pool.members)
    if progress is not None:
        progress(total, total, "done")
    if not forecasts:
        raise RegimeslotError(f"every model failed; the first: {next(iter(failures.values()))}")
    return Study(
        dataset,
        folds,
        {name: forecasts[name] for name in models if name in forecasts},
        {name: seconds[name] for name in models if name in forecasts},
        {name: fitted[name] for name in models if name in forecasts},
        failures,
        {
            "train_size": train_size,
            "refit_every": refit_every,
            "expanding": expanding,
            "random_state": random_state,
            "models": {name: repr(model) for name, model in models.items()},
        },
        rounded_to,
        refits,
    )


def _require_horizon(models: Mapping[str, Forecaster], horizon: int) -> None:
    """A model of another horizon would read targets that are not finished: a look-ahead."""
    for name, model in models.items():
        members = model.members if isinstance(model, Pool) else {name: model}
        for own, member in members.items():
            if member.horizon != horizon:
                raise InvalidInputError(
                    f"{own} has horizon={member.horizon} but the dataset's targets cover {horizon} "
                    f"row(s): build it with horizon={horizon}"
                )


def _shares(pool: Pool, models: Mapping[str, Forecaster]) -> bool:
    return all(
        name in models and repr(models[name]) == repr(member)
        for name, member in pool.members.items()
    )


def _forecast_fold(model: Forecaster, dataset: Dataset, fold: Fold) -> MixtureForecast:
    """Fit on the training rows, then forecast the test rows; purged rows only move the state."""
    model.fit(dataset.X.iloc[fold.train], dataset.y.iloc[fold.train])
    rows = slice(fold.train.stop, fold.test.stop)
    forecast = model.predict(dataset.X.iloc[rows], dataset.y.iloc[rows])
    return forecast[slice(fold.test.start - fold.train.stop, None)]
