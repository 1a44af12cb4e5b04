"""One view of a run or of a bare study: what the summary, the figures and the terminal read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison import DieboldMariano, diebold_mariano
from regimeslot.evaluation.overlay import OVERLAY_BASELINE, Overlay, overlay
from regimeslot.evaluation.rounding import rounded_uniforms
from regimeslot.evaluation.stability import RegimeStability, regime_stability
from regimeslot.reporting.words import PERIODS, Period, Unit

if TYPE_CHECKING:
    from regimeslot.evaluation.run import Run
    from regimeslot.evaluation.walk_forward import Study
    from regimeslot.forecast import MixtureForecast

__all__ = ["BASELINES", "View", "regime_names", "view_of"]

Array = NDArray[np.float64]

# The first of these that was run is the one that trust is measured against.
BASELINES = ("gjr-garch", "egarch-skewt", "linear", "markov", "mean")
_REGIME_MODELS = ("slots-sticky", "slots-markov", "slots-softmax", "markov-t", "markov")
_MAIN_MODELS = ("pool", *_REGIME_MODELS, "slots-static", "slots-single")


@dataclass(frozen=True, eq=False)
class View:
    """A study, and the run around it where there is one.

    Attributes
    ----------
    study : Study
    run : Run or None
    main : str
        Model that the first screen shows.
    reference : str or None
        Baseline that trust is measured against; None where no baseline was run.
    """

    study: Study
    run: Run | None
    main: str
    reference: str | None

    @cached_property
    def y(self) -> Array:
        """Realised targets (n,)."""
        return self.study.y.to_numpy(dtype=float)

    @property
    def index(self) -> pd.Index:
        """Labels of the forecast rows."""
        return self.study.y.index

    @property
    def horizon(self) -> int:
        """Rows that a target covers."""
        return int(self.study.dataset.horizon)

    @property
    def forecast(self) -> MixtureForecast:
        """Walk-forward forecasts of the main model."""
        return self.study.forecasts[self.main]

    @cached_property
    def period(self) -> Period:
        """What a row is called."""
        if not isinstance(self.index, pd.DatetimeIndex) or len(self.index) < 2:
            return PERIODS["irregular"]
        from regimeslot.prices import infer_frequency

        return PERIODS[infer_frequency(self.index)]

    @cached_property
    def unit(self) -> Unit:
        """Unit in which values are shown."""
        typical = float(np.median(np.abs(self.y)))
        if typical == 0.0:  # a series that rarely moves: what is forecast says how finely
            std = self.forecast.std()
            typical = float(np.median(std[np.isfinite(std)])) if np.isfinite(std).any() else 0.0
        return Unit.of(self.study.dataset.transform, typical)

    @property
    def losses(self) -> bool:
        """Whether the low tail is a loss: of returns it is, of a rate neither side."""
        return self.study.dataset.transform == "log-return"

    @property
    def plus(self) -> bool:
        """Whether numbers above zero show a plus: moves do, values do not."""
        return self.study.dataset.transform != "level"

    @property
    def span(self) -> str:
        """What a target covers: "a day", or "over 5 sessions"."""
        if self.horizon == 1:
            return f"a {self.period.each}"
        return f"over {self.period.steps(self.horizon)}"

    @property
    def noun(self) -> str:
        """What is forecast: a return, a change or a value."""
        nouns = {"log-return": "return", "diff": "change", "level": "value"}
        return nouns[self.study.dataset.transform]

    @property
    def name(self) -> str:
        """Ticker, or the name of the data."""
        return str(self.run.prices.ticker if self.run is not None else self.study.dataset.name)

    @cached_property
    def log_scores(self) -> pd.DataFrame:
        """Log score of each row and model."""
        return self.study.log_scores()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of every model."""
        return self.study.scores()

    @cached_property
    def uniforms(self) -> Array:
        """Probability integral transforms of the main model (n,); drawn where y is rounded."""
        if self.study.rounded_to is None:
            return self.forecast.cdf(self.y)
        return rounded_uniforms(self.forecast, self.y, self.study.rounded_to)

    @cached_property
    def stability(self) -> RegimeStability | None:
        """How the refits of the regime model label the same rows."""
        if self.run is not None:
            return self.run.stability
        model = self.regime_model
        return None if model is None else regime_stability(self.study, model)

    @cached_property
    def overlay(self) -> Overlay | None:
        """Volatility-targeted overlay of the main model, beside that of the baseline."""
        if self.run is not None:
            return self.run.overlay
        return overlay(self.study, (self.main, OVERLAY_BASELINE))

    def gain(self, model: str, against: str) -> Array:
        """Log-score gain of one model over another, by row, in nats."""
        scores = self.log_scores
        return np.asarray(scores[model] - scores[against], dtype=float)

    def test(self, model: str, against: str) -> DieboldMariano:
        """Diebold-Mariano test with positive t where ``model`` is better."""
        scores = self.log_scores
        return diebold_mariano(
            -scores[against].to_numpy(), -scores[model].to_numpy(), horizon=self.horizon
        )

    @property
    def baselines(self) -> list[str]:
        """Baselines that were run, the most telling first."""
        return [n for n in BASELINES if n in self.study.forecasts and n != self.main]

    @cached_property
    def regimes(self) -> pd.DataFrame | None:
        """Predicted regime probabilities of the walk-forward, calm to wild, named in words."""
        if self.run is not None:
            table = self.run.regime_probabilities()
            if table.shape[1] > 1:
                return table.set_axis([str(c) for c in table.columns], axis=1)
        model = self.regime_model
        if model is None or self.study.forecasts[model].n_components < 2:
            return None
        forecast = self.study.forecasts[model]
        order, names = regime_names(forecast, self.unit, self.span)
        return pd.DataFrame(forecast.weights[:, order], index=self.index, columns=names)

    @property
    def regime_model(self) -> str | None:
        """Model whose regimes are shown."""
        if self.run is not None:
            return self.run.regime_model
        held = (n for n in _REGIME_MODELS if n in self.study.forecasts)
        return next((n for n in held if self.study.forecasts[n].n_components > 1), None)

    @cached_property
    def prices(self) -> Array | None:
        """Closes on the forecast rows (n,), NaN where there is none; None without prices."""
        if self.run is None:
            return None
        close = self.run.prices.frame["Close"].reindex(self.index)
        return close.to_numpy(dtype=float) if close.notna().any() else None


def view_of(run_or_study: Any) -> View:
    """Wrap a Run or a Study.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    if isinstance(run_or_study, View):
        return run_or_study
    run = run_or_study if hasattr(run_or_study, "study") else None
    study = run_or_study if run is None else run.study
    if not hasattr(study, "forecasts") or not hasattr(study, "log_scores"):
        raise InvalidInputError(
            "a report needs a Run of fit_run or a Study of walk_forward, "
            f"got {type(run_or_study).__name__}"
        )
    names = list(study.forecasts)
    main = run.main if run is not None else _first(_MAIN_MODELS, names) or names[0]
    reference = _first([n for n in BASELINES if n != main], names)
    return View(study, run, main, reference)


def _first(wanted: Sequence[str], held: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in held), None)


def regime_names(
    forecast: MixtureForecast, unit: Unit, span: str
) -> tuple[NDArray[np.intp], list[str]]:
    """Order of a forecast's components from calm to wild, and their names in that order."""
    spread = np.array(
        [
            float(np.median(np.sqrt(np.maximum(_component_variance(forecast, k), 0.0))))
            for k in range(forecast.n_components)
        ]
    )
    order = np.argsort(spread, kind="stable")
    words = _mood(len(order))
    names = [f"{word}, {unit.text(spread[k])} {span}" for word, k in zip(words, order, strict=True)]
    return order, names


def _component_variance(forecast: MixtureForecast, k: int) -> Array:
    """Variance of one component, or its squared scale where it has none."""
    dof = forecast.dof[:, k]
    safe = np.where(np.isfinite(dof) & (dof > 2.0), dof, 4.0)
    ratio = np.where(np.isfinite(dof) & (dof > 2.0), safe / (safe - 2.0), 1.0)
    return np.asarray(forecast.scales[:, k] ** 2 * ratio)


def _mood(n: int) -> list[str]:
    named = {1: ["one regime"], 2: ["calm", "wild"], 3: ["calm", "middling", "wild"]}
    return named.get(n) or ["calm", *(f"middling {k}" for k in range(1, n - 1)), "wild"]
