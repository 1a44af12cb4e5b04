"""SlotForecaster: a density forecaster of several slots, of which a selector chooses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.features import OFFSET, RETURN
from regimeslot.forecast import MixtureForecast
from regimeslot.markov.scan import forward_filter
from regimeslot.models.base import (
    Features,
    Forecaster,
    check_rows,
    check_target,
    recency_weights,
)
from regimeslot.models.chains import Chains
from regimeslot.models.likelihoods import LIKELIHOODS
from regimeslot.models.selectors import SELECTORS
from regimeslot.models.slot_choice import choose_slots
from regimeslot.models.slot_evidence import refine_by_evidence
from regimeslot.models.slot_objective import (
    Parameters,
    Penalty,
    Rows,
    SlotObjective,
    SlotSpec,
)
from regimeslot.solvers.bfgs import Minimum, minimize_bfgs

__all__ = ["SlotForecaster"]

Array = NDArray[np.float64]

FEATURE_LIMIT = 5.0  # standardised features are clipped here: one wild day must not decide a fit
_FIRST = 0.1  # factor on the penalties from which the evidence starts
_ROLES = ("location", "scale", "gate")
_STRENGTHS = ("shared", "deviation", "gate", "location", "slope")


class SlotForecaster(Forecaster):
    r"""Mixture of ``n_slots`` experts whose weights follow the past.

    .. math::
        p(y_t \mid \text{past}) = \sum_k w_k(t)\, p(y_t;\, m_k + a_k'z_t,\,
        \exp(b_t + c_k + s_k'z_t))

    where z are the standardised features, b_t is the log-scale offset column ``log_vol`` when X
    has one, and the weights come from the selector. Estimated by penalised maximum likelihood
    with exact gradients; rows age with half-life ``half_life``.

    Parameters
    ----------
    n_slots : int
        Number of slots K; one slot is a plain regression for location and log scale. The largest
        number, from two on, where ``penalty="auto"`` chooses it.
    selector : {"sticky", "markov", "softmax", "static"}
        What the weights depend on: features and the state before, the state before, features,
        nothing. ``"static"`` is the control for any claim about regimes.
    likelihood : {"t", "gaussian"}
        Density of one slot.
    location, scale : {"constant", "linear"}
        Whether a slot's location and log scale depend on the features.
    location_features, scale_features, gate_features : list of str, optional
        Columns for each role; default every column but the reserved ones.
    penalty : float, "evidence" or "auto"
        Factor on all penalties below. ``"evidence"`` gives every feature and the memory a strength
        of their own (:mod:`regimeslot.models.slot_evidence`). ``"auto"`` takes the better of 1 and
        ``"evidence"`` on held-out training rows, and the fewest slots that do as well as more
        (:mod:`regimeslot.models.slot_choice`). Refits under ``warm_start`` keep what was learned.
    shared_penalty, deviation_penalty : float
        Shrinkage of the slots' mean log-scale coefficients toward zero, and of each slot toward
        that mean, on the summed log-likelihood.
    gate_penalty, location_penalty, slope_penalty : float
        Shrinkage of the gate's coefficients, of standardised locations, and of location
        coefficients.
    half_life : float, optional
        Age in rows at which a row counts half (2016 is eight years of trading days); None: all
        rows count alike.
    horizon : int
        y of row s is known ``horizon`` rows later. With more than one, the rows t, t - h,
        t - 2h ... form a chain of their own, so that the state never sees an unfinished target.
    n_starts : int
        Starts of the first fit; the best objective is kept.
    tolerance : float
        Stop when the predicted decrease is below this share of the objective.
    warm_start : bool
        A second ``fit`` starts from the last solution, keeping the slots' identity.
    random_state : int, optional
        Seed of the extra starts.

    Attributes
    ----------
    n_slots_ : number of slots fitted
    penalty_ : the setting that was used, a factor or ``"evidence"``
    penalties_ : dict of strengths; a feature's own, by evidence, is large where it is of no use
    parameters_ : dict of arrays
        Locations, log scales, shapes and selector, in standardised units.
    objective_ : penalised negative log-likelihood at the solution
    n_evaluations_ : evaluations of the last fit
    converged_ : whether the last fit converged

    References
    ----------
    Jacobs, Jordan, Nowlan and Hinton (1991), Neural Computation 3; Hamilton (1989), Econometrica
    57; Bengio and Frasconi (1995), NIPS 7; Diebold, Lee and Weinbach (1994).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 2))
    >>> y = np.exp(0.5 * X[:, 0]) * rng.standard_normal(500)
    >>> model = SlotForecaster(n_slots=1).fit(X[:400], y[:400])
    >>> model.predict(X[400:]).std().shape
    (100,)
    """

    def __init__(
        self,
        *,
        n_slots: int = 2,
        selector: str = "sticky",
        likelihood: str = "t",
        location: str = "constant",
        scale: str = "linear",
        location_features: list[str] | None = None,
        scale_features: list[str] | None = None,
        gate_features: list[str] | None = None,
        penalty: float | str = "auto",
        shared_penalty: float = 100.0,
        deviation_penalty: float = 400.0,
        gate_penalty: float = 100.0,
        location_penalty: float = 20.0,
        slope_penalty: float = 5.0,
        half_life: float | None = 2016.0,
        horizon: int = 1,
        n_starts: int = 3,
        tolerance: float = 3e-6,
        warm_start: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.n_slots = n_slots
        self.selector = selector
        self.likelihood = likelihood
        self.location = location
        self.scale = scale
        self.location_features = location_features
        self.scale_features = scale_features
        self.gate_features = gate_features
        self.penalty = penalty
        self.shared_penalty = shared_penalty
        self.deviation_penalty = deviation_penalty
        self.gate_penalty = gate_penalty
        self.location_penalty = location_penalty
        self.slope_penalty = slope_penalty
        self.half_life = half_life
        self.horizon = horizon
        self.n_starts = n_starts
        self.tolerance = tolerance
        self.warm_start = warm_start
        self.random_state = random_state

    # ------------------------------------------------------------------ fit
    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        state = self.get_state()
        previous = state if self.warm_start and "parameters_" in state else None
        self.columns_ = [str(name) for name in frame.columns]
        columns = frame.to_numpy(float).T  # a column at a time, as a frame stores them
        self.feature_mean_ = columns.mean(axis=1)
        self.feature_std_ = columns.std(axis=1) + 1e-12
        self.center_, self.spread_ = float(target.mean()), float(target.std())
        self.has_offset_ = OFFSET in frame.columns
        features = [name for name in self.columns_ if name not in (OFFSET, RETURN)]
        learned = isinstance(self.penalty, str)
        if learned and previous is not None:  # what was learned stays, as long as it can
            names = {role: self._features_of(role, features) for role in _ROLES}
            same = (previous["columns_"], previous["features_"]) == (self.columns_, names)
            if self.penalty == "evidence":  # nothing was learned of another setting
                asked = (self.penalty, self.n_slots)
                same &= (previous["penalty_"], previous["n_slots_"]) == asked
            previous = previous if same else None
        if not learned or previous is None:
            self.n_slots_, self.penalty_ = self.n_slots, self.penalty
            if self.penalty == "auto":
                self.n_slots_, self.penalty_ = choose_slots(self, frame, target)
            by_evidence = self.penalty_ == "evidence"
            self.penalties_ = self._strengths(_FIRST if by_evidence else float(self.penalty_))
            self.features_ = {role: self._features_of(role, features) for role in _ROLES}
        chains = Chains.of(len(frame), self.horizon)
        objective = self._objective(columns, target, chains)
        best = self._minimize(objective, previous)
        if previous is None:
            if self.penalty_ == "evidence":
                objective, best = refine_by_evidence(objective, best, self.tolerance / 100)
            objective, best = self._canonical(objective, best)
            self.penalties_ = vars(objective.penalty)
        self.parameters_ = {n: v.copy() for n, v in objective.unpack(best.x).items()}
        self.inverse_hessian_ = best.inverse_hessian
        self.objective_ = best.fun
        self.n_evaluations_ = best.n_evaluations
        self.converged_ = best.converged
        self.state_ = np.full((self.horizon, self.n_slots_), 1.0 / self.n_slots_)
        if self.n_slots_ > 1 and objective.selector.memory:
            log_density = self._log_density(objective, target[chains.order])
            transition = objective.transition(self.parameters_)
            result = forward_filter(log_density, transition, self.state_[0], chains.starts)
            self.state_ = chains.after(result.filtered, self.state_)

    def _check_parameters(self) -> None:
        for name, allowed in (
            ("selector", tuple(SELECTORS)),
            ("likelihood", tuple(LIKELIHOODS)),
            ("location", ("constant", "linear")),
            ("scale", ("constant", "linear")),
        ):
            if getattr(self, name) not in allowed:
                raise InvalidInputError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if self.penalty not in ("auto", "evidence") and not (
            isinstance(self.penalty, int | float) and 0.0 <= self.penalty < math.inf
        ):
            wanted = '"auto", "evidence" or a number of at least 0'
            raise InvalidInputError(f"penalty must be {wanted}, got {self.penalty!r}")
        for name in ("n_slots", "horizon", "n_starts"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                wanted = "a whole number of at least 1"
                raise InvalidInputError(f"{name} must be {wanted}, got {value!r}")
        for name in ("half_life", "tolerance"):
            value = getattr(self, name)
            free = name == "half_life" and value is None
            if not (free or (isinstance(value, int | float | np.integer) and value > 0.0)):
                raise InvalidInputError(f"{name} must be a number above 0, got {value!r}")
        for name in _STRENGTHS:
            value = getattr(self, f"{name}_penalty")
            if not (isinstance(value, int | float | np.integer) and 0.0 <= value < math.inf):
                wanted = "a number of at least 0"
                raise InvalidInputError(f"{name}_penalty must be {wanted}, got {value!r}")

    def _features_of(self, role: str, features: list[str]) -> list[str]:
        if role == "gate":
            used = self.n_slots_ > 1 and SELECTORS[self.selector].gate
        else:
            used = getattr(self, role) == "linear"
        if not used:
            return []
        chosen = getattr(self, f"{role}_features")
        if chosen is None:
            return features
        missing = [name for name in chosen if name not in features]
        if missing:
            raise InvalidInputError(f"{role}_features names unknown column(s) {', '.join(missing)}")
        return list(chosen)

    def _where(self, names: list[str]) -> list[int]:
        return [self.columns_.index(name) for name in names]

    def _objective(self, columns: Array, target: Array, chains: Chains) -> SlotObjective:
        """Objective on standardised rows in chain order, each role's features as (F, T)."""
        n_rows, order = len(target), chains.order
        weights = recency_weights(n_rows, self.half_life)
        offset = np.zeros(n_rows)
        if self.has_offset_:
            offset = columns[self.columns_.index(OFFSET)] - math.log(self.spread_)
        designs: dict[tuple[str, ...], Array] = {}
        for names in {tuple(names) for names in self.features_.values()}:
            where = self._where(list(names))
            design = columns[where]
            if self.horizon > 1:
                design = design[:, order]
            design -= self.feature_mean_[where, None]
            design /= self.feature_std_[where, None]
            designs[names] = np.clip(design, -FEATURE_LIMIT, FEATURE_LIMIT, out=design)
        rows = Rows(
            (target[order] - self.center_) / self.spread_,
            offset[order],
            designs[tuple(self.features_["location"])],
            designs[tuple(self.features_["scale"])],
            designs[tuple(self.features_["gate"])],
            weights[order],
            chains.starts,
        )
        sizes = (len(self.features_[role]) for role in _ROLES)
        spec = SlotSpec(self.n_slots_, self.selector, self.likelihood, *sizes)
        return SlotObjective(spec, Penalty(**self.penalties_), rows)

    def _strengths(self, factor: float) -> dict[str, float]:
        """Strengths of all penalties, by name."""
        given = {
            "shared": self.shared_penalty,
            "deviation": self.deviation_penalty,
            "gate": self.gate_penalty,
            "location": self.location_penalty,
            "location_slope": self.slope_penalty,
        }
        return vars(Penalty(**{name: factor * value for name, value in given.items()}))

    def _minimize(self, objective: SlotObjective, previous: dict[str, Any] | None) -> Minimum:
        if previous is not None and self._fits(objective, previous):
            theta = objective.pack(self._restandardised(previous))
            return minimize_bfgs(
                objective, theta, previous["inverse_hessian_"], tolerance=self.tolerance
            )
        rng = np.random.default_rng(self.random_state)
        best: Minimum | None = None
        for attempt in range(self.n_starts if self.n_slots_ > 1 else 1):
            theta = objective.pack(objective.start())
            if attempt:
                theta = theta + 0.3 * rng.standard_normal(objective.size)
            metric = objective.inverse_information(theta)
            found = minimize_bfgs(objective, theta, metric, tolerance=self.tolerance / 100)
            if best is None or found.fun < best.fun:
                best = found
        assert best is not None  # n_starts >= 1 was checked
        return best

    def _fits(self, objective: SlotObjective, previous: dict[str, Any]) -> bool:
        """Whether the last solution has the same slots and features as this fit."""
        return bool(
            previous["columns_"] == self.columns_
            and previous["features_"] == self.features_
            and previous["has_offset_"] == self.has_offset_
            and {n: v.shape for n, v in previous["parameters_"].items()} == objective.spec.shapes
        )

    def _restandardised(self, previous: dict[str, Any]) -> Parameters:
        """The last solution in this fit's units: the same model, apart from clipping."""
        parameters = {name: value.copy() for name, value in previous["parameters_"].items()}
        shift = (self.feature_mean_ - previous["feature_mean_"]) / previous["feature_std_"]
        stretch = self.feature_std_ / previous["feature_std_"]

        def move(role: str, bias: Array, slope: Array) -> None:
            where = self._where(self.features_[role])
            bias += slope @ shift[where]
            slope *= stretch[where]

        move("location", parameters["location_bias"], parameters["location_slope"])
        move("scale", parameters["scale_bias"], parameters["scale_slope"])
        if len(parameters.get("slope", ())):
            by_slot = np.zeros(self.n_slots_ - 1)
            move("gate", by_slot, parameters["slope"])
            parameters["bias"] += by_slot
        ratio = previous["spread_"] / self.spread_
        parameters["location_bias"] *= ratio
        parameters["location_bias"] += (previous["center_"] - self.center_) / self.spread_
        parameters["location_slope"] *= ratio
        if not self.has_offset_:
            parameters["scale_bias"] += math.log(ratio)
        return parameters

    def _canonical(self, objective: SlotObjective, found: Minimum) -> tuple[SlotObjective, Minimum]:
        """Slots ordered from calm to wild, by their mean log scale over the training rows."""
        log_scale = objective.log_scales(objective.unpack(found.x))
        order = np.argsort(log_scale.mean(axis=1), kind="stable")
        change = objective.reordering(order)
        metric = change @ found.inverse_hessian @ change.T
        slopes = objective.penalty.location_slope
        if np.ndim(slopes):  # the only strengths that belong to one slot
            penalty = replace(objective.penalty, location_slope=np.asarray(slopes)[order])
            objective = SlotObjective(objective.spec, penalty, objective.rows)
        return objective, replace(found, x=change @ found.x, inverse_hessian=metric)

    # ------------------------------------------------------------------ forecast
    def _log_density(self, objective: SlotObjective, target: Array) -> Array:
        """Log density (K, T) of each slot; a missing target (NaN) tells the slots nothing."""
        densities, _ = objective.densities(self.parameters_)
        log_density = np.stack([d.log_density for d in densities])
        log_density[:, ~np.isfinite(target)] = 0.0
        return log_density

    def _run(self, X: Features, y: ArrayLike | None) -> tuple[MixtureForecast, Array]:
        """Forecasts of new rows, and the state after them."""
        self._require_fit()
        frame = check_rows(X, self.columns_)
        n_rows = len(frame)
        if not n_rows:
            raise InvalidInputError("X has no rows to forecast")
        known = np.full(n_rows, np.nan) if y is None else check_target(y, X, missing=True)
        chains = Chains.of(n_rows, self.horizon)
        filled = np.where(np.isfinite(known), known, self.center_)
        objective = self._objective(frame.to_numpy(float).T, filled, chains)
        transition = objective.transition(self.parameters_)
        state = self.state_
        if self.n_slots_ > 1 and objective.selector.memory:
            log_density = self._log_density(objective, known[chains.order])
            weights, state = chains.filter(log_density, transition, self.state_)
        else:
            every = np.broadcast_to(
                transition[0].reshape(self.n_slots_, -1), (self.n_slots_, n_rows)
            )
            weights = chains.back(every)
        locations = [np.broadcast_to(m, n_rows) for m in objective.locations(self.parameters_)]
        raw = self.parameters_["shape"].tolist() or [0.0] * self.n_slots_
        forecast = MixtureForecast.from_std(
            weights,
            self.center_ + self.spread_ * chains.back(np.stack(locations)),
            self.spread_ * np.exp(chains.back(objective.held_log_scales(self.parameters_))),
            np.array([objective.likelihood.dof(value) for value in raw]),
            index=frame.index,
            labels=tuple(f"slot {k}" for k in range(self.n_slots_)),
        )
        return forecast, state

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one; see :mod:`regimeslot.models.base`."""
        return self._run(X, y)[0]

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the state past new rows whose target has become known."""
        self.state_ = self._run(X, y)[1]
        return self
