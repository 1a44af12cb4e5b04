"""Regimes of one model: their probabilities out of sample, durations, outlook, and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.evaluation.walk_forward import Study
from regimeslot.features import Dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Forecaster
from regimeslot.models.markov_forecaster import MarkovForecaster
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.models.slot_view import coefficients, regime_names, slot_transition
from regimeslot.prices import infer_frequency

__all__ = ["RegimeView"]

_STEPS = {
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "yearly": "year",
}


@dataclass(frozen=True, eq=False)
class RegimeView:
    """Regimes of one Markov-switching or slot model of a study.

    Attributes
    ----------
    dataset : Dataset
    forecast : MixtureForecast, the model's walk-forward forecasts
    model : MarkovForecaster or SlotForecaster, its final fit
    y : Series, realised targets of the forecast rows
    """

    dataset: Dataset
    forecast: MixtureForecast
    model: MarkovForecaster | SlotForecaster
    y: pd.Series

    @classmethod
    def of(cls, study: Study, model: Forecaster, name: str) -> RegimeView | None:
        """View of a model of a study; None where it has no regimes."""
        if not isinstance(model, MarkovForecaster | SlotForecaster):
            return None
        forecast = study.forecasts[name]
        return cls(study.dataset, forecast, model, study.y) if forecast.n_components > 1 else None

    @property
    def n_regimes(self) -> int:
        """How many regimes the model has."""
        return self.forecast.n_components

    @property
    def names(self) -> list[str]:
        """Words from calm to wild, with the typical size of a day in each."""
        scale, mark = (100.0, " %") if self.dataset.transform == "log-return" else (1.0, "")
        return [
            f"{word}, {scale * size:.2g}{mark} {self._span()}"
            for word, size in zip(regime_names(self.n_regimes), self._typical_std(), strict=True)
        ]

    def _span(self) -> str:
        """What a target covers: a day, a month, 5 days, or a step where there are no dates."""
        horizon = self.dataset.horizon
        return f"a {self._step()}" if horizon == 1 else f"in {horizon} {self._step()}s"

    def _step(self) -> str:
        index = self.dataset.index
        known = isinstance(index, pd.DatetimeIndex) and len(index) > 1
        return _STEPS.get(infer_frequency(index), "step") if known else "step"

    def _component_stds(self) -> np.ndarray:
        """Standard deviation of each regime at each forecast row (n, K)."""
        f = self.forecast
        # Below two degrees of freedom a standard deviation does not exist: the scale stands in.
        finite = np.isfinite(f.dof) & (f.dof > 2.0)
        dof = np.where(finite, f.dof, 4.0)
        return np.asarray(f.scales * np.where(finite, np.sqrt(dof / (dof - 2.0)), 1.0))

    def _typical_std(self) -> np.ndarray:
        """What each regime says a target's standard deviation is.

        Markov switching has one number, that of the fit which makes the forecast; slots whose
        scale follows features have a median over the rows.
        """
        if isinstance(self.model, MarkovForecaster):
            return self.model.standard_deviations()
        return np.asarray(np.median(self._component_stds(), axis=0))

    def probabilities(self) -> pd.DataFrame:
        """Predicted probability of each regime at every forecast row."""
        return pd.DataFrame(self.forecast.weights, index=self.y.index, columns=self.names)

    def transition(self) -> pd.DataFrame:
        """Transition probabilities into the next session, at its features."""
        row = self.dataset.next_X if self.dataset.next_X is not None else self.dataset.X.iloc[-1:]
        if isinstance(self.model, SlotForecaster):
            matrix = slot_transition(self.model, row)
        else:
            matrix = self.model.transition_
        return pd.DataFrame(matrix, index=self.names, columns=self.names)

    def outlook(self, steps: int = 21) -> pd.DataFrame:
        """Probability of each regime 1 .. ``steps`` sessions ahead, with today's features held."""
        row = self.dataset.next_X if self.dataset.next_X is not None else self.dataset.X.iloc[-1:]
        rows = [row] * steps
        if self.dataset.unfinished_X is not None:  # targets that are not whole come before
            rows.insert(0, self.dataset.unfinished_X)
        weights = self.model.predict(pd.concat(rows)).weights[-steps:]
        return pd.DataFrame(weights, index=range(1, steps + 1), columns=self.names)

    def expected_time_left(self) -> float:
        """Expected sessions left in the likeliest regime, h / (1 - P_kk) with horizon h.

        A model of h-step targets moves once every h sessions.
        """
        likely = int(self.outlook(1).to_numpy()[0].argmax())
        leaving = 1.0 - self.transition().to_numpy()[likely, likely]
        return float(self.dataset.horizon / max(leaving, 1e-12))

    def sessions_so_far(self) -> int:
        """Sessions for which the likeliest regime has been the likeliest, up to the last row."""
        likely = self.forecast.weights.argmax(axis=1)
        changes = np.flatnonzero(likely != likely[-1])
        return int(len(likely) - 1 - changes[-1]) if len(changes) else len(likely)

    def now(self, forecast: MixtureForecast) -> list[dict[str, Any]]:
        """Name, probability and volatility of each regime in the next session's forecast."""
        view = RegimeView(self.dataset, forecast, self.model, self.y)
        stds = view._component_stds()[0]
        return [
            {"name": name, "probability": float(p), "std": float(s)}
            for name, p, s in zip(self.names, forecast.weights[0], stds, strict=True)
        ]

    def table(self) -> pd.DataFrame:
        """Each regime in numbers: its share of the rows, its spells, what happened in it.

        Moments are weighted by the probability that was predicted for each row; spells, rows and
        the extremes are those of the rows in which the regime was the likeliest.

        Returns
        -------
        DataFrame
            ``occupancy`` (mean probability), ``rows``, ``spells``, ``mean_duration`` (rows a
            spell), ``expected_duration`` (sessions, from the transition matrix of the next row),
            ``mean``, ``volatility``, ``below_zero`` (share), ``worst`` and ``best`` of the
            targets, ``std`` and ``dof`` of the regime's law, ``features`` that move it most.
        """
        weights = self.forecast.weights
        likely = weights.argmax(axis=1)
        y = self.y.to_numpy()
        effect = pd.DataFrame()
        if isinstance(self.model, SlotForecaster):
            effect = coefficients(self.model, "scale")
        leaving = 1.0 - np.diag(self.transition().to_numpy())
        rows = []
        for k in range(self.n_regimes):
            inside = likely == k
            spells = int((inside & ~np.append(False, inside[:-1])).sum())
            share = weights[:, k] / max(weights[:, k].sum(), 1e-300)
            strongest: list[str] = []
            if effect.size:
                strongest = list(effect.iloc[k].abs().nlargest(3).index)
            rows.append(
                {
                    "occupancy": float(weights[:, k].mean()),
                    "rows": int(inside.sum()),
                    "spells": spells,
                    "mean_duration": float(inside.sum() / spells) if spells else np.nan,
                    "expected_duration": float(self.dataset.horizon / max(leaving[k], 1e-12)),
                    "mean": float(share @ y),
                    "volatility": float(np.sqrt(share @ (y - share @ y) ** 2)),
                    "below_zero": float(share @ (y < 0.0)),
                    "worst": float(y[inside].min()) if spells else np.nan,
                    "best": float(y[inside].max()) if spells else np.nan,
                    "std": float(self._typical_std()[k]),
                    "dof": float(self.forecast.dof[-1, k]),
                    "features": ", ".join(
                        f"{column} {effect.iloc[k][column]:+.2f}" for column in strongest
                    ),
                }
            )
        return pd.DataFrame(rows, index=pd.Index(self.names, name="regime"))

    def to_json(self) -> dict[str, Any]:
        """The table and the transition matrix as plain data."""
        table = self.table().reset_index().rename(columns={"regime": "name"})
        return {
            "regimes": table.to_dict("records"),
            "transition": self.transition().to_numpy().tolist(),
            "expected_time_left": self.expected_time_left(),
        }
