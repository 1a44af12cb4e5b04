"""Slots as a scikit-learn regressor: several linear laws and a gate that tells them apart."""

from __future__ import annotations

import numbers
import warnings
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from regimeslot.errors import InvalidInputError, RegimeWarning
from regimeslot.solvers.slot_design import Array, Design, softmax
from regimeslot.solvers.slot_em import SlotState, log_density
from regimeslot.solvers.slot_fit import (
    SolverSettings,
    fit_slots,
    mixture_likelihood,
    pooled_state,
)
from regimeslot.solvers.slot_penalty import SlotPenalty
from regimeslot.solvers.slot_select import choose_n_slots
from regimeslot.solvers.slot_units import RawSlots, Units

__all__ = ["SlotRegressor"]

_SOLVERS = ("em", "likelihood", "rmsprop")
_POOLING_ROUNDS = 3  # the strengths hardly move after the second
_UNUSED = 0.001  # mean slot weight below which a slot counts as dead


def _slots_differ(model: SlotRegressor) -> bool:
    """Whether there is anything to choose: several slots, not all the same."""
    coef = getattr(model, "slot_coef_", None)
    if coef is None or len(coef) == 1 or np.ptp(coef, axis=0).max(initial=0) == 0:
        raise AttributeError(
            "predict_proba exists once fit has found slots that differ; "
            "selector_weights always answers"
        )
    return True


class SlotRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Linear experts mixed by a softmax gate, fitted so that the slots find the laws in the data.

    .. math::
        \hat y(x) = \sum_k \pi_k(x) (W_k x + b_k), \qquad \pi(x) = \mathrm{softmax}(V x + c)

    Parameters
    ----------
    n_slots
        number of slots; one slot is linear regression. ``"auto"`` adds slots as long as they make
        held-out rows significantly more likely
    solver
        ``"em"``: EM from many starts, then the cooperative squared error itself (the default).
        ``"likelihood"``: the mixture likelihood, with a residual variance for every slot.
        ``"rmsprop"``: :class:`~regimeslot.models.slot_weight.SlotWeight` trained by plain RMSprop
        on mini-batches of unscaled rows; needs torch and takes no ridge.
    ridge
        penalty on each slot's slopes, as ``alpha`` in ``sklearn.linear_model.Ridge`` on
        standardised features: squared error summed over rows
    pooling
        partial pooling of the slots toward a shared base, in the units of ``ridge``: the penalty on
        each coefficient's deviation from the mean of the slots. None leaves the slots independent,
        ``numpy.inf`` is one pooled regression, ``"auto"`` estimates a strength for every
        coefficient, and pools completely where slots do not earn their parameters
    rank
        the slots' deviations from their base span at most this many directions; None is free
    max_slots
        most slots that ``n_slots="auto"`` tries
    n_starts
        EM starts
    max_iter
        EM iterations of the best start on all rows
    learning_rate, epochs, batch_size
        of ``"rmsprop"``
    warm_start
        a second ``fit`` starts from the last solution and keeps the slots' identity
    random_state
        source of the starts

    Attributes
    ----------
    slot_coef_ : (K, d), or (K, p, d) for several outputs
    slot_intercept_ : (K,) or (K, p)
    gate_coef_ : (K, d)
        columns sum to zero; its scale is not identified where regimes do not overlap
    gate_intercept_ : (K,)
    noise_variance_ : (K,) or (K, p)
        residual variance, in squared units of y
    usage_ : (K,)
        mean slot weight on the training rows
    selector_entropy_ : float
        mean entropy of the slot weights of a row, nats; 0 is a hard choice
    effective_slots_ : float
        exp of the entropy of ``usage_``: between 1 and K
    n_restarts_ : int
        slots that died during the fit and were started again
    n_slots_ : int
        number of slots
    slot_scores_ : (number tried,)
        mean held-out log density for 1, 2, ... slots; only with ``n_slots="auto"``
    n_iter_ : int
        EM iterations (epochs for ``"rmsprop"``)

    Raises
    ------
    InvalidInputError
        if a parameter has a value that is not named here

    Notes
    -----
    Slots come in a canonical order: by the slope of the first feature on which they differ
    most, the largest first.

    References
    ----------
    Jacobs, Jordan, Nowlan and Hinton (1991), Adaptive mixtures of local experts.
    Jordan and Jacobs (1994), Hierarchical mixtures of experts and the EM algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> from regimeslot.models.slot_regressor import SlotRegressor
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> y = -abs(X[:, 0] - X[:, 1])
    >>> model = SlotRegressor(2, random_state=0).fit(X, y)
    >>> model.slot_coef_.round(6).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        n_slots: int | str = 2,
        *,
        solver: str = "em",
        ridge: float = 0.0,
        pooling: float | str | None = None,
        rank: int | None = None,
        max_slots: int = 6,
        n_starts: int = 32,
        max_iter: int = 20,
        learning_rate: float = 0.01,
        epochs: int = 100,
        batch_size: int = 64,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_slots = n_slots
        self.solver = solver
        self.ridge = ridge
        self.pooling = pooling
        self.rank = rank
        self.max_slots = max_slots
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit slots and gate.

        Parameters
        ----------
        X : (n, d)
        y : (n,) or (n, p)
        sample_weight : (n,), optional
            a weight of 2 counts a row twice, 0 leaves it out
        """
        self._check_parameters()
        rows, targets = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        if np.any(weights < 0) or not np.any(weights > 0):
            raise InvalidInputError(
                "expected sample_weight without negative values and not all zero, "
                f"got values from {weights.min():g} to {weights.max():g}"
            )
        Y = np.asarray(targets, dtype=np.float64).reshape(len(rows), -1)
        previous = self._previous(rows.shape[1], Y.shape[1])
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        units = Units.of(rows, Y, weights)
        self.n_restarts_ = 0
        if self.solver == "rmsprop":
            self.n_slots_ = cast(int, self.n_slots)
            from regimeslot.models.slot_training import train_slots

            self.n_iter_ = self.epochs
            slots = train_slots(
                rows,
                Y,
                weights,
                n_slots=self.n_slots_,
                start=previous,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seed=seed,
            )
        else:
            design = units.design(rows, Y, weights)
            rng = np.random.default_rng(seed)
            start = None if previous is None else units.from_raw(previous)
            self.n_slots_ = self._choose_slots(design, previous, rng)
            state = self._solve(design, self.n_slots_, rng, start)
            slots, self.n_iter_ = units.to_raw(state), state.iterations
            self.n_restarts_ = state.restarts
        if previous is None:
            slots = slots.reordered(_canonical_order(slots, units.x_scale))
        self._store(slots, single=np.ndim(targets) == 1)
        self._report_usage(rows, weights)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Mixed prediction: (n,), or (n, p) if y had several columns."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        pi = self._gate(rows)
        if self.slot_coef_.ndim == 2:
            return np.asarray((pi * (rows @ self.slot_coef_.T + self.slot_intercept_)).sum(1))
        outputs = np.einsum("kpd,nd->nkp", self.slot_coef_, rows) + self.slot_intercept_
        return np.asarray(np.einsum("nk,nkp->np", pi, outputs))

    def selector_weights(self, X: ArrayLike) -> NDArray[np.float64]:
        """Slot weights pi(x) of each row, (n, K); rows sum to one."""
        check_is_fitted(self)
        return self._gate(validate_data(self, X, dtype=np.float64, reset=False))

    @available_if(_slots_differ)
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Slot weights of each row, (n, K): :meth:`selector_weights` under its usual name.

        It exists once a fit has found slots that differ: one law leaves nothing to choose.
        """
        return self.selector_weights(X)

    def _gate(self, X: Array) -> Array:
        return softmax(X @ self.gate_coef_.T + self.gate_intercept_, 1)

    def _check_parameters(self) -> None:
        if self.solver not in _SOLVERS:
            raise InvalidInputError(
                f"expected solver to be one of {', '.join(_SOLVERS)}, got {self.solver!r}"
            )
        counts = ["n_slots", "n_starts", "max_iter", "epochs", "batch_size", "max_slots"]
        if self.n_slots == "auto":
            counts.remove("n_slots")
        for name in counts:
            _check_count(name, getattr(self, name), least=1)
        if self.rank is not None:
            _check_count("rank", self.rank, least=0)
        if not 0 <= self.ridge < np.inf:
            raise InvalidInputError(f"expected ridge to be finite and >= 0, got {self.ridge!r}")
        if self.pooling is not None and self.pooling != "auto":
            number = isinstance(self.pooling, numbers.Real) and not isinstance(self.pooling, bool)
            if not number or not cast(float, self.pooling) >= 0:
                raise InvalidInputError(
                    f"expected pooling to be None, 'auto' or a number >= 0, got {self.pooling!r}"
                )
        if self.rank is not None and self.pooling is not None:
            raise InvalidInputError(
                f"expected either rank or pooling, got rank={self.rank!r} and "
                f"pooling={self.pooling!r}; leave one of them at None"
            )
        plain = not self.ridge and self.pooling is None and self.rank is None
        if self.solver == "rmsprop" and not (plain and self.n_slots != "auto"):
            raise InvalidInputError(
                "expected plain slots of a given number with solver='rmsprop', got "
                f"n_slots={self.n_slots!r}, ridge={self.ridge!r}, pooling={self.pooling!r}, "
                f"rank={self.rank!r}; use solver='em' for shrinkage and automatic numbers"
            )

    def _previous(self, n_features: int, n_outputs: int) -> RawSlots | None:
        """The last solution, if a warm start was asked for and its shapes still fit."""
        if not self.warm_start or not hasattr(self, "slot_coef_"):
            return None
        K = len(self.gate_intercept_)
        coef = self.slot_coef_.reshape(K, -1, self.slot_coef_.shape[-1])
        n_slots = K if self.n_slots == "auto" else self.n_slots
        if coef.shape != (n_slots, n_outputs, n_features):
            raise InvalidInputError(
                f"expected a warm start with the shape of the last fit {coef.shape}, "
                f"got (n_slots, outputs, features) = {(n_slots, n_outputs, n_features)}; "
                "set warm_start=False or clone the model"
            )
        return RawSlots(
            coef,
            self.slot_intercept_.reshape(K, -1),
            self.gate_coef_,
            self.gate_intercept_,
            self.noise_variance_.reshape(K, -1),
        )

    def _choose_slots(
        self, design: Design, previous: RawSlots | None, rng: np.random.Generator
    ) -> int:
        if self.n_slots != "auto":
            return int(self.n_slots)
        if previous is not None:
            return len(previous.coef)
        number, self.slot_scores_ = choose_n_slots(
            design,
            lambda rows, n_slots: self._solve(rows, n_slots, rng, None),
            log_density,
            most=self.max_slots,
            rng=rng,
        )
        return number

    def _solve(
        self, design: Design, n_slots: int, rng: np.random.Generator, start: SlotState | None
    ) -> SlotState:
        D = design.Z.shape[1]
        ridge = np.full(D, float(self.ridge))
        ridge[-1] = 0.0
        fixed = 0.0 if self.pooling is None or self.pooling == "auto" else float(self.pooling)
        if np.isinf(fixed):
            return pooled_state(design, n_slots, ridge * n_slots)
        penalty = SlotPenalty(ridge, np.full(D, fixed), n_slots, 1e-9 * design.total, self.rank)
        settings = SolverSettings(
            n_starts=self.n_starts,
            max_iter=self.max_iter,
            pooling_rounds=_POOLING_ROUNDS if self.pooling == "auto" else 0,
        )
        solve = fit_slots if self.solver == "em" else mixture_likelihood
        return solve(design, n_slots, penalty, settings, rng=rng, start=start)

    def _store(self, slots: RawSlots, *, single: bool) -> None:
        squeeze = (slice(None), 0) if single else (slice(None),)
        self.slot_coef_ = slots.coef[squeeze]
        self.slot_intercept_ = slots.intercept[squeeze]
        self.noise_variance_ = slots.variance[squeeze]
        self.gate_coef_ = slots.gate_coef
        self.gate_intercept_ = slots.gate_intercept

    def _report_usage(self, X: Array, weights: Array) -> None:
        pi = self._gate(X)
        share = weights / weights.sum()
        self.usage_ = share @ pi
        log_pi = np.log(np.maximum(pi, np.finfo(float).tiny))
        self.selector_entropy_ = float(share @ -(pi * log_pi).sum(1))
        used = self.usage_[self.usage_ > 0]
        self.effective_slots_ = float(np.exp(-(used * np.log(used)).sum()))
        dead = np.flatnonzero(self.usage_ < _UNUSED)
        if len(dead):
            warnings.warn(
                f"expected every slot to be used, got slots {dead.tolist()} with less than "
                f"{_UNUSED:.1%} of the rows after {self.n_restarts_} restarts; "
                "lower n_slots, or choose it with n_slots='auto'",
                RegimeWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _check_count(name: str, value: object, *, least: int) -> None:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(cast(int, value)) < least:
        raise InvalidInputError(f"expected {name} to be an integer >= {least}, got {value!r}")


def _canonical_order(slots: RawSlots, scale: Array) -> NDArray[np.intp]:
    spread = np.ptp(slots.coef[:, 0], axis=0) * scale
    # The first feature within a hair of the largest spread: rounding must not decide.
    feature = int(np.flatnonzero(spread >= 0.99 * spread.max())[0])
    return np.argsort(-slots.coef[:, 0, feature], kind="stable")
