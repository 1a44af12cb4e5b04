"""What a Markov-switching fit hands back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import ConvergenceWarning, InvalidInputError, RegimeWarning
from regimeslot.forecast import MixtureForecast
from regimeslot.markov import diagnose, forecasting, inference
from regimeslot.markov.chain import elapsed_durations, expected_durations
from regimeslot.markov.filtering import FilteredRows, filter_rows, most_probable_path
from regimeslot.markov.layout import Layout
from regimeslot.markov.natural import (
    Natural,
    Scaling,
    from_natural,
    parameter_names,
    to_natural,
    to_vector,
)
from regimeslot.markov.objective import Objective, Priors
from regimeslot.markov.prepare import Design, check_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MarkovSwitchingResult"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class MarkovSwitchingResult:
    """A fitted Markov-switching model and the rows it has seen.

    Rows are those after the first p (``order``), which are only lags. ``predicted_probs`` are
    p(z_t | y_<t), the only ones that may enter a forecast; ``filtered_probs`` p(z_t | y_<=t);
    ``smoothed_probs`` use all rows.

    Attributes
    ----------
    config : dict
        Arguments of :class:`MarkovSwitching`.
    converged : bool
        What the optimiser expects to gain by going on is below 1e-3.
    flat : bool
        It stopped because its last steps gained next to nothing, not at a maximum.
    start_values : array
        Standardised objective where each start ended: the spread of optima.
    start_retired : bool array
        Starts given up because they were about to end where another did, or lower.
    """

    config: dict[str, Any]
    design: Design
    scaling: Scaling
    theta: Array
    own_index: pd.Index
    converged: bool
    start_values: Array
    start_retired: NDArray[np.bool_]
    flat: bool = False
    known_information: Array | None = field(default=None)
    before: MarkovSwitchingResult | None = field(default=None)

    @cached_property
    def index(self) -> pd.Index:
        """Index of all rows seen."""
        pieces = [result.own_index for result in self._lineage()]
        return pieces[0].append(pieces[1:]) if len(pieces) > 1 else pieces[0]

    # -- parameters -------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Shape of the parameters."""
        return self.design.layout

    @property
    def n_regimes(self) -> int:
        """K."""
        return self.layout.n_regimes

    @cached_property
    def natural(self) -> Natural:
        """Parameters as arrays in the user's units."""
        return to_natural(self.layout.unpack(self.theta[None]), self.layout, self.scaling)[0]

    @cached_property
    def params(self) -> pd.Series:
        """Estimates by name; names and order are those of statsmodels."""
        names = list(parameter_names(self.layout))
        return pd.Series(to_vector(self.natural, self.layout), names, name="estimate")

    @cached_property
    def information(self) -> Array:
        """Minus the Hessian in the optimiser's parameters; zero rows are at a boundary."""
        if self.known_information is not None:
            return self.known_information
        first = self._lineage()[0]
        return inference.observed_information(first._objective(10), first.theta)

    @cached_property
    def covariance(self) -> pd.DataFrame:
        """Covariance of ``params`` from the observed information (conditional at a boundary)."""
        names = self.params.index
        table = inference.natural_covariance(
            self.layout, self.scaling, self.theta, self.information
        )
        return pd.DataFrame(table, names, names)

    @cached_property
    def std_errors(self) -> pd.Series:
        """Standard errors of ``params``; NaN for a parameter on the boundary."""
        variance = np.diag(self.covariance.to_numpy()).copy()
        with np.errstate(invalid="ignore"):
            return pd.Series(np.sqrt(variance), self.params.index, name="std. error")

    @cached_property
    def transition(self) -> Array:
        """``transition[i, j]`` = P(j next | i now), (K, K); (K, K, T) when time-varying."""
        parts = self.layout.unpack(self.theta[None])
        full = Objective(self.layout, self._observations, 1).transition(parts)[0]
        return full[..., 0] if full.shape[2] == 1 else full[..., self.layout.n_ar :]

    @cached_property
    def expected_durations(self) -> Array:
        """Mean length of a stay in each regime in rows, (K,), or (T, K) when time-varying."""
        moved = self.transition if self.transition.ndim == 2 else np.moveaxis(self.transition, 2, 0)
        return expected_durations(moved)

    # -- fit --------------------------------------------------------------------------------

    @property
    def n_obs(self) -> int:
        """Observed rows in the likelihood."""
        return int(self._full_design.usable().sum())

    @cached_property
    def loglikelihood(self) -> float:
        """Log-likelihood of all rows seen, in the user's units."""
        rows = sum(float(result._rows.log_likelihood.sum()) for result in self._lineage())
        return rows - self.n_obs * float(np.log(self.scaling.scale))

    @cached_property
    def loglikelihood_rows(self) -> pd.Series:
        """Log p(y_t | y_<t) of each row; 0 where the observation is missing."""
        usable = self._full_design.usable()
        rows = self._chain(lambda r: r._rows.log_likelihood, axis=0)
        return pd.Series(np.where(usable, rows - np.log(self.scaling.scale), 0.0), self.index)

    @property
    def n_params(self) -> int:
        """Free parameters, those on the boundary included."""
        return self.layout.n_params

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return -2 * self.loglikelihood + 2 * self.n_params

    @property
    def bic(self) -> float:
        """Schwarz's criterion."""
        return -2 * self.loglikelihood + np.log(self.n_obs) * self.n_params

    @property
    def hqic(self) -> float:
        """Hannan and Quinn's criterion."""
        return -2 * self.loglikelihood + 2 * np.log(np.log(self.n_obs)) * self.n_params

    @property
    def icl(self) -> float:
        """BIC plus twice the entropy of the smoothed regimes."""
        probs = self.smoothed_probs.to_numpy()
        entropy = -(probs * np.log(np.maximum(probs, 1e-300))).sum()
        return self.bic + 2 * float(entropy)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What to know before trusting the estimates, one sentence each."""
        return diagnose.notes(self)

    def warn(self) -> None:
        """Issue the warnings that a fit owes its user."""
        if not self.converged:
            warnings.warn(
                "the estimation stopped before it converged; the best parameters found are "
                "returned: try more starts, fewer regimes or a prior",
                ConvergenceWarning,
                stacklevel=3,
            )
        for note in self.notes:
            if note.startswith("spurious"):
                warnings.warn(note, RegimeWarning, stacklevel=3)

    # -- probabilities ----------------------------------------------------------------------

    @cached_property
    def predicted_probs(self) -> pd.DataFrame:
        """p(z_t | y_<t), (T, K)."""
        return self._frame(self._chain(lambda r: r._rows.predicted, axis=1))

    @cached_property
    def filtered_probs(self) -> pd.DataFrame:
        """p(z_t | y_<=t), (T, K)."""
        return self._frame(self._chain(lambda r: r._rows.filtered, axis=1))

    @cached_property
    def smoothed_probs(self) -> pd.DataFrame:
        """p(z_t | all rows seen), (T, K)."""
        smoothed = self._objective(1).evaluate(self.theta[None]).posterior.smoothed[:, 0]
        return self._frame(smoothed.reshape(self.n_regimes, -1, smoothed.shape[1]).sum(axis=1))

    @cached_property
    def viterbi_path(self) -> pd.Series:
        """The most probable path of regimes given all rows seen."""
        path = most_probable_path(self.layout, self._full_observations, self.theta, self._given)
        return pd.Series(path, self.index, name="regime")

    @property
    def elapsed_durations(self) -> pd.Series:
        """How many rows the regime of the Viterbi path has lasted, at each row."""
        path = self.viterbi_path
        return pd.Series(elapsed_durations(path.to_numpy()), path.index, name="elapsed")

    @property
    def next_probs(self) -> Array:
        """p(z_T+1 | all rows seen), (K,); constant transitions only."""
        if self.layout.n_tvtp:
            raise InvalidInputError("transitions vary: use forecast(1, exog_tvtp=...) instead")
        return self._rows.filtered[:, -1] @ self.transition

    @property
    def first_probs(self) -> Array:
        """Distribution (K,) of the regime of a sample's first row; constant transitions only."""
        objective = Objective(self.layout, self._observations, 1, initial=self._given)
        parts = self.layout.unpack(self.theta[None])
        return objective.first_regime(parts, objective.transition(parts))[0]

    @property
    def last_state(self) -> Array:
        """Filtered distribution (M,) of the (composite) state of the last row seen."""
        return self._rows.state

    # -- new rows, forecasts, simulation ----------------------------------------------------

    def update(
        self, y: object, exog: object = None, exog_tvtp: object = None
    ) -> MarkovSwitchingResult:
        """The result after more rows, without refitting, in O(K^2) per row.

        Parameters
        ----------
        y : scalar, array or Series of new rows
        exog, exog_tvtp : rows of the same kind as in the fit
        """
        if np.ndim(y) == 0:  # type: ignore[arg-type]
            y = [y]
        values, index = check_rows(y)
        if not isinstance(y, pd.Series) and isinstance(self.own_index, pd.RangeIndex):
            begin = self.own_index.stop
            index = pd.RangeIndex(begin, begin + values.size)
        design = self.design.extend(values, exog, exog_tvtp)
        later = replace(self, design=design, own_index=index, before=self)
        _ = later._rows  # filtered now, so that a long chain of updates is not walked recursively
        return later

    def forecast(
        self, steps: int = 1, exog: object = None, exog_tvtp: object = None
    ) -> MixtureForecast:
        """Distributions of the next 1, ..., ``steps`` rows, one row each.

        Parameters
        ----------
        steps : int
        exog, exog_tvtp : (steps, ...) future regressors, where the model has them
        """
        return forecasting.forecast_rows(self, steps, exog, exog_tvtp)

    def simulate(
        self,
        n_rows: int,
        exog: object = None,
        *,
        random_state: int | np.random.Generator | None = None,
    ) -> pd.DataFrame:
        """Draw a new sample from the fitted model: columns ``y`` and ``regime``.

        The chain starts as the model says a sample does; constant transitions only.
        """
        return forecasting.simulate_sample(self, n_rows, exog, random_state)

    # -- text, picture, storage -------------------------------------------------------------

    def summary(self) -> str:
        """Table of the fit as text."""
        return diagnose.summary(self)

    def __repr__(self) -> str:
        return (
            f"MarkovSwitchingResult({self.n_regimes} regimes, {self.n_obs} rows, "
            f"log-likelihood {self.loglikelihood:.4f})"
        )

    def plot_regimes(self, ax: Axes | None = None) -> Axes:
        """Smoothed probability of each regime over time, stacked."""
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.gca()
        probs = self.smoothed_probs
        labels = [f"regime {i}" for i in range(self.n_regimes)]
        ax.stackplot(probs.index, probs.to_numpy().T, labels=labels, step="mid", linewidth=0)
        ax.set_ylim(0, 1)
        ax.set_ylabel("smoothed probability")
        ax.legend(loc="upper left", frameon=False)
        return ax

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """A JSON-able header and plain arrays, from which :meth:`from_state` rebuilds it."""
        from regimeslot.markov.storage import to_state

        return to_state(self)

    @classmethod
    def from_state(cls, header: dict[str, Any], arrays: dict[str, Array]) -> MarkovSwitchingResult:
        """The inverse of :meth:`to_state`."""
        from regimeslot.markov.storage import from_state

        return from_state(cls, header, arrays)

    # -- internals --------------------------------------------------------------------------

    def start_for(self, layout: Layout, scaling: Scaling) -> Array:
        """These estimates (n,) as a warm start on another sample's standardised scale."""
        if layout != self.layout:
            raise InvalidInputError("start must be a result of the same model specification")
        return layout.pack(from_natural(self.natural, layout, scaling))[0]

    @cached_property
    def _rows(self) -> FilteredRows:
        state = None if self.before is None else self.before._rows.state
        return filter_rows(
            self.layout, self._observations, self.theta, given=self._given, state=state
        )

    @cached_property
    def _observations(self) -> Any:
        return self.design.observations(self.scaling)

    @property
    def _given(self) -> Array | None:
        initial = self.config["initial"]
        return None if isinstance(initial, str) else np.asarray(initial, dtype=float)

    def _chain(self, part: Any, axis: int) -> Array:
        pieces = [part(result) for result in self._lineage()]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=axis)

    @cached_property
    def _full_design(self) -> Design:
        if self.before is None:
            return self.design
        first, *later = [result.design for result in self._lineage()]
        return first.append(later)

    def _lineage(self) -> list[MarkovSwitchingResult]:
        """The results whose rows, one after the other, are those of this one."""
        found: list[MarkovSwitchingResult] = []
        result: MarkovSwitchingResult | None = self
        while result is not None:
            found.append(result)
            result = result.before
        return found[::-1]

    @property
    def _full_observations(self) -> Any:
        return self._full_design.observations(self.scaling)

    def _objective(self, n_batch: int) -> Objective:
        config = self.config
        priors = Priors(config["sticky_prior"], config["move_prior"], config["variance_prior"])
        return Objective(
            self.layout, self._full_observations, n_batch, priors=priors, initial=self._given
        )

    def _frame(self, table: Array) -> pd.DataFrame:
        return pd.DataFrame(table.T, self.index, range(self.n_regimes))
