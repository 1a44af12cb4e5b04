"""Markov switching as a forecaster: constant regimes, no features, truly out of sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.markov.chain import stationary_distribution
from regimeslot.markov.memoryless import fit_without_memory
from regimeslot.markov.result import MarkovSwitchingResult
from regimeslot.markov.scan import forward_filter
from regimeslot.markov.switching import MarkovSwitching
from regimeslot.models.base import Features, Forecaster, check_rows, check_target
from regimeslot.models.chains import Chains

__all__ = ["MarkovForecaster", "StaticMixtureForecaster"]

Array = NDArray[np.float64]

_MIN_ROWS = 50
_VARIANCE_PRIOR = 1.0  # one pseudo-observation: no regime collapses on a run of equal values


class MarkovForecaster(Forecaster):
    """Forecasts of :class:`regimeslot.MarkovSwitching`: a mixture weighted by predicted regimes.

    ``p(y_t | y_<t) = sum_k P(z_t = k | y_<t) f(y_t; c_k + sum_i phi_i y_t-i, sigma_k)``. X is not
    used. With horizon h the model is fitted to every h-th target, which do not overlap, and the h
    interleaved chains of targets are filtered with it.

    Parameters
    ----------
    n_regimes : int
    likelihood : {"gaussian", "t"}
        Student-t regimes have degrees of freedom of their own.
    order : int
        Autoregressive lags, common to the regimes (intercept form).
    n_starts : int
        Starts of the first fit.
    horizon : int
        y of row s is known ``horizon`` rows later.
    warm_start : bool
        A second ``fit`` starts from the last solution.
    random_state : int, optional

    Attributes
    ----------
    params_ : dict of float, by the names of ``MarkovSwitching(...).fit(y).params``
    transition_ : (K, K)
    log_likelihood_ : float
    converged_ : bool

    References
    ----------
    Hamilton (1989), Econometrica 57.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0.01, 0.03, 0.01], 200) * rng.standard_normal(600)
    >>> model = MarkovForecaster(random_state=0).fit(np.zeros((500, 1)), y[:500])
    >>> model.predict(np.zeros((100, 1)), y[500:]).weights.shape
    (100, 2)
    """

    def __init__(
        self,
        *,
        n_regimes: int = 2,
        likelihood: str = "gaussian",
        order: int = 0,
        n_starts: int = 10,
        horizon: int = 1,
        warm_start: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.n_regimes = n_regimes
        self.likelihood = likelihood
        self.order = order
        self.n_starts = n_starts
        self.horizon = horizon
        self.warm_start = warm_start
        self.random_state = random_state

    # ------------------------------------------------------------------ fit
    def _least_rows(self) -> int:
        return _MIN_ROWS * self.horizon

    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        previous = self.get_state().get("params_") if self.warm_start else None
        specification = MarkovSwitching(
            self.n_regimes,
            order=self.order,
            form="intercept",
            switching_variance=True,
            likelihood=self.likelihood,
            switching_dof=self.likelihood == "t",
            n_starts=self.n_starts,
            variance_prior=_VARIANCE_PRIOR,
            random_state=self.random_state,
        )
        apart = target[(len(target) - 1) % self.horizon :: self.horizon]
        result = self._estimate(specification, apart, previous)
        self.columns_ = [str(name) for name in frame.columns]
        self.params_ = {str(name): float(value) for name, value in result.params.items()}
        self.transition_ = np.array(result.transition, dtype=float)
        self.log_likelihood_ = float(result.loglikelihood)
        self.converged_ = bool(result.converged)
        reach = self.order * self.horizon
        self.recent_ = np.full(reach, float(target.mean()))
        chains = Chains.of(len(target), self.horizon)
        log_density = self._log_density(target, self._locations(target))[:, chains.order]
        initial = stationary_distribution(self.transition_)
        filtered = forward_filter(log_density, self.transition_, initial, chains.starts)
        empty = np.full((self.horizon, self.n_regimes), 1.0 / self.n_regimes)
        self.state_ = chains.after(filtered.filtered, empty)
        self.recent_ = target[len(target) - reach :]

    @staticmethod
    def _estimate(
        specification: MarkovSwitching, target: Array, start: Mapping[str, float] | None
    ) -> MarkovSwitchingResult:
        return specification.fit(target, start=start)

    def _each(self, name: str) -> Array:
        """Values (K,) of a parameter, whether it switches or not."""
        params = self.params_
        return np.array(
            [params.get(f"{name}[{k}]", params.get(name)) for k in range(self.n_regimes)]
        )

    def _locations(self, target: Array) -> Array:
        """Location (K, n) of each row, from the targets of its own chain before it."""
        values = np.concatenate([self.recent_, target])
        n_rows = len(target)
        location = np.repeat(self._each("const")[:, None], n_rows, axis=1)
        for lag in range(1, self.order + 1):
            first = (self.order - lag) * self.horizon
            location += self._each(f"ar.L{lag}")[:, None] * values[first : first + n_rows]
        return location

    def _shape(self) -> tuple[Array, Array]:
        """Scale and degrees of freedom (K,) of each regime."""
        dof = self._each("dof") if self.likelihood == "t" else np.full(self.n_regimes, math.inf)
        return np.sqrt(self._each("sigma2")), dof

    def _log_density(self, target: Array, location: Array) -> Array:
        """Log density (K, n) of each regime; zero where the target is missing."""
        scale, dof = self._shape()
        n_rows = len(target)
        rows = np.empty((self.n_regimes, n_rows))
        known = np.isfinite(target)
        filled = np.where(known, target, 0.0)
        for k in range(self.n_regimes):
            component = MixtureForecast(
                np.ones((n_rows, 1)), location[k][:, None], scale[k], dof[k]
            )
            rows[k] = np.where(known, component.logpdf(filled), 0.0)
        return rows

    # ------------------------------------------------------------------ forecast
    def _with_forecast_lags(self, known: Array) -> Array:
        """Targets in which a missing one is its own forecast, as later rows' lags need it."""
        scale, dof = self._shape()
        const = self._each("const")
        slopes = [self._each(f"ar.L{lag}") for lag in range(1, self.order + 1)]
        state, values = self.state_.copy(), self.recent_.tolist()
        for row, value in enumerate(known.tolist()):
            chain = row % self.horizon
            weights = state[chain] @ self.transition_
            location = const + sum(
                slope * values[-lag * self.horizon] for lag, slope in enumerate(slopes, start=1)
            )
            if math.isfinite(value):
                each = MixtureForecast(
                    np.ones((len(scale), 1)), location[:, None], scale[:, None], dof[:, None]
                )
                log_density = each.logpdf(value)
                posterior = weights * np.exp(log_density - log_density.max())
                weights = posterior / posterior.sum()
                values.append(value)
            else:
                values.append(float(weights @ location))
            state[chain] = weights
        return np.array(values[len(self.recent_) :])

    def _run(self, X: Features, y: ArrayLike | None) -> tuple[MixtureForecast, Array, Array]:
        """Forecasts of new rows, and the state and latest targets after them."""
        self._require_fit()
        frame = check_rows(X, self.columns_)
        n_rows = len(frame)
        if not n_rows:
            raise InvalidInputError("X has no rows to forecast")
        known = np.full(n_rows, np.nan) if y is None else check_target(y, X, missing=True)
        filled = known
        if self.order and not np.isfinite(known).all():
            filled = self._with_forecast_lags(known)
        chains = Chains.of(n_rows, self.horizon)
        location = self._locations(filled)
        log_density = self._log_density(known, location)[:, chains.order]
        weights, state = chains.filter(log_density, self.transition_, self.state_)
        scale, dof = self._shape()
        forecast = MixtureForecast(
            weights,
            location.T,
            scale,
            dof,
            index=frame.index,
            labels=tuple(f"regime {k}" for k in range(self.n_regimes)),
        )
        recent = np.concatenate([self.recent_, filled])[len(filled) :]
        return forecast, state, recent

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one."""
        return self._run(X, y)[0]

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the state past rows whose target has become known."""
        _, self.state_, self.recent_ = self._run(X, y)
        return self

    def standard_deviations(self) -> Array:
        """Standard deviation (K,) of each regime; its scale where the variance does not exist."""
        self._require_fit()
        scale, dof = self._shape()
        finite = np.isfinite(dof) & (dof > 2.0)
        tail = np.where(finite, dof, 4.0)
        return np.asarray(scale * np.where(finite, np.sqrt(tail / (tail - 2.0)), 1.0))

    def summary(self) -> pd.DataFrame:
        """Parameters of each regime, and its expected duration in rows of its chain."""
        self._require_fit()
        scale, dof = self._shape()
        stay = np.diag(self.transition_)
        table: dict[str, Any] = {"const": self._each("const"), "scale": scale, "dof": dof}
        table["expected_duration"] = 1.0 / np.maximum(1.0 - stay, 1e-300)
        return pd.DataFrame(table, index=[f"regime {k}" for k in range(self.n_regimes)])


class StaticMixtureForecaster(MarkovForecaster):
    """The control of :class:`MarkovForecaster`: the same regimes with constant weights, no memory.

    ``p(y_t | y_<t) = sum_k w_k f(y_t; c_k + sum_i phi_i y_t-i, sigma_k)``. What the two differ by
    is what knowing the last regime is worth. Parameters and attributes are the same; all rows of
    ``transition_`` are w.

    References
    ----------
    McLachlan, G. J. and Peel, D. (2000). Finite Mixture Models. Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.repeat([0.01, 0.03, 0.01], 200) * np.random.default_rng(0).standard_normal(600)
    >>> model = StaticMixtureForecaster(random_state=0).fit(np.zeros((500, 1)), y[:500])
    >>> forecast = model.predict(np.zeros((100, 1)), y[500:])
    >>> bool(np.allclose(forecast.weights, forecast.weights[0]))
    True
    """

    @staticmethod
    def _estimate(
        specification: MarkovSwitching, target: Array, start: Mapping[str, float] | None
    ) -> MarkovSwitchingResult:
        return fit_without_memory(specification, target, start=start)
