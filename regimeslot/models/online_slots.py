"""Slots that keep learning from a stream and do not forget."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.models.online_core import Event, OnlineSlots, Outlook, SlotSettings

__all__ = ["OnlineSlotRegressor"]

Array = NDArray[np.float64]
Row = Mapping[Any, float] | ArrayLike


class OnlineSlotRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Linear laws that come, go and come back, each learned in a slot of its own.

    .. math::
        p(y_t \mid \text{past}) = \sum_k \pi_t(k)\, t_{2 a_k}\!\Big(y_t;\; w_k'x_t,\;
        \frac{b_k}{a_k} (1 + x_t' \Lambda_k^{-1} x_t)\Big)

    Each slot is a Bayesian linear regression in one pass. A filter carries the probability that
    each is in force; a row changes a slot by its probability only, and slots below ``threshold``
    not at all. A row that no slot explains may begin a new law; once a candidate that started
    there has out-forecast all slots it becomes a slot. Slots that turn out to be one law are
    merged. Cost per row: O(K d^2) for K slots and d features, whatever came before.

    Parameters
    ----------
    max_slots
        most slots; 1 is one Bayesian regression. Beyond it new laws are still followed, in one
        spare place that is not remembered
    forgetting
        factors that every slot keeps side by side, weighted by how well each has forecast the
        slot's own rows; ``(1.0,)`` never forgets. The largest comes first
    stay
        prior probability that the next row has the same law; the staying probability is learned
    new_law
        probability that a row begins a law never seen
    outliers
        prior rate of rows that belong to a law but lie far from it; the rate is learned by slot.
        0 leaves them out
    threshold
        a row does not touch a slot whose probability is not above this, bit for bit; and a slot
        that comes above it for less than six rows is put back as it was
    evidence
        nats by which a candidate must beat all slots, after paying for ``new_law``
    merge_every
        rows between two looks at whether slots are one law
    gate
        let the row's own features tell the slots apart too, through each slot's density of x
    fit_intercept
        add a constant to the features

    Attributes
    ----------
    n_slots_ : int
    n_rows_ : int
        rows learned
    events_ : list of Event
        ``(time, kind, slot, into)`` of every spawn and merge; time counts rows
    slot_names_ : tuple of int
        number that each slot was born with, in order of birth; merging does not renumber
    filtered_probs_ : (K,)
        P(slot | all rows so far); what is missing to one is a law that has no slot (yet)
    slot_coef_ : (K, d), or (K, p, d) for several outputs
    slot_intercept_ : (K,) or (K, p)
    noise_variance_ : (K,) or (K, p)
        squared units of y
    staying_ : float
        learned probability that the next row has the same law

    Raises
    ------
    InvalidInputError
        for settings, shapes or values that make no sense

    Notes
    -----
    Nothing needs to be scaled: units are taken from the first 16 rows and stay fixed. Columns may
    be correlated or constant.

    References
    ----------
    Adams and MacKay (2007), Bayesian online changepoint detection.
    West and Harrison (1997), Bayesian forecasting and dynamic models (discounting).
    Herbster and Warmuth (1998), Tracking the best expert.

    Examples
    --------
    >>> from regimeslot import OnlineSlotRegressor, synthetic
    >>> sample = synthetic.make_recurring(200, order="ABAB")
    >>> model = OnlineSlotRegressor().partial_fit(sample.X, sample.y)
    >>> model.n_slots_
    2
    >>> model.filtered_probs_.round(2).tolist()
    [0.0, 1.0]
    >>> model.predict_density(sample.X[:1]).interval(0.9).shape
    (1, 2)
    """

    def __init__(
        self,
        *,
        max_slots: int = 8,
        forgetting: tuple[float, ...] = (1.0, 0.998, 0.99, 0.96),
        stay: float = 0.98,
        new_law: float = 0.002,
        outliers: float = 0.002,
        threshold: float = 0.02,
        evidence: float = 5.0,
        merge_every: int = 50,
        gate: bool = False,
        fit_intercept: bool = True,
    ) -> None:
        self.max_slots = max_slots
        self.forgetting = forgetting
        self.stay = stay
        self.new_law = new_law
        self.outliers = outliers
        self.threshold = threshold
        self.evidence = evidence
        self.merge_every = merge_every
        self.gate = gate
        self.fit_intercept = fit_intercept

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Forget everything and learn the rows in their order; (n, d) and (n,) or (n, p)."""
        self._forget()
        return self.partial_fit(X, y)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn further rows in their order: the same as :meth:`learn_one` on each.

        Parameters
        ----------
        X : (n, d)
        y : (n,) or (n, p)
        """
        first = not self.is_fitted
        if first:
            self._forget()  # of names that a failed call may have left
        rows, target = self._validated(X, y, reset=first)
        targets = np.asarray(target, dtype=np.float64)
        core = self._begun(rows.shape[1], targets.shape[1:])
        for x, v in zip(rows, targets.reshape(len(rows), -1), strict=True):
            core.learn(x, v)
        return self

    def learn_one(self, x: Row, y: float | ArrayLike) -> None:
        """Learn one row.

        Parameters
        ----------
        x : mapping from column to number, Series, or (d,)
            once columns have names, a mapping or Series is read by them
        y : number, or (p,)
        """
        try:
            target = np.array(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"y must be a number or numbers, got {y!r}") from error
        if target.ndim > 1 or not np.isfinite(target).all():
            raise InvalidInputError(f"y must be finite, one number or (outputs,), got {y!r}")
        names = None if self.is_fitted else _names_of(x)
        row = self._row(x, names)
        self._begun(len(row), target.shape, names).learn(row, target.reshape(-1))

    def predict_one(self, x: Row) -> float | Array:
        """Mean of the next target: a number, or (p,); 0.0 before any row was learned."""
        if not self.is_fitted:
            return 0.0
        mean = self._core.mean(self._core.outlook(self._row(x)))
        return mean if self.several_ else float(mean[0])

    def predict(self, X: ArrayLike) -> Array:
        """Mean of the next target, were its features each of these rows: (n,) or (n, p)."""
        means = np.array([self._core.mean(view) for view in self._views(X)])
        return means if self.several_ else means[:, 0]

    def predict_density(self, X: ArrayLike) -> MixtureForecast | list[MixtureForecast]:
        """Distribution of the next target, were its features each of these rows.

        Components: every slot under each of its forgetting factors, the outliers of every slot,
        and a law that begins with the row. Several outputs give a list, one forecast each; they
        share the slot probabilities.
        """
        every = [self._core.components(view) for view in self._views(X)]
        weights = np.array([c.weights for c in every])
        dof = np.array([c.dof for c in every])
        labels = self._labels()
        index = getattr(X, "index", None)
        forecasts = [
            MixtureForecast(
                weights / weights.sum(1, keepdims=True),
                np.array([c.locations[:, i] for c in every]),
                np.array([c.scales[:, i] for c in every]),
                dof,
                index=index if hasattr(X, "columns") else None,
                labels=labels,
            )
            for i in range(every[0].locations.shape[1])
        ]
        return forecasts if self.several_ else forecasts[0]

    def predicted_probs(self, X: ArrayLike) -> Array:
        """P(slot in force at the next row | past, and x with ``gate``), (n, K + 1).

        The last column is a law that has no slot (yet).
        """
        known = np.array([view.slots[: self.n_slots_] for view in self._views(X)])
        return np.column_stack([known, np.maximum(1.0 - known.sum(1), 0.0)])

    @property
    def is_fitted(self) -> bool:
        """Whether a row has been learned."""
        return hasattr(self, "n_features_in_") and hasattr(self, "_core")

    def __sklearn_is_fitted__(self) -> bool:
        return self.is_fitted

    def get_state(self) -> dict[str, Any]:
        """Everything learned, for :func:`regimeslot.save`; going on from it is bit-exact."""
        if not self.is_fitted:
            return {}
        names = getattr(self, "feature_names_in_", None)
        return {
            "n_features_in_": self.n_features_in_,
            "n_outputs_": self.n_outputs_,
            "several_": self.several_,
            "feature_names_in_": None if names is None else [*names],
            "core": self._core.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> Self:
        """Put back what :meth:`get_state` gave."""
        self._forget()
        shape = (state["n_outputs_"],) if state["several_"] else ()
        core = self._begun(state["n_features_in_"], shape, state["feature_names_in_"])
        core.set_state(state["core"])
        return self

    @property
    def n_slots_(self) -> int:
        """Number of slots."""
        return self._fitted_core().n_slots

    @property
    def n_rows_(self) -> int:
        """Rows learned."""
        return self._fitted_core().rows

    @property
    def events_(self) -> list[Event]:
        """Spawns and merges."""
        return list(self._fitted_core().events)

    @property
    def slot_names_(self) -> tuple[int, ...]:
        """Numbers that the slots were born with."""
        return tuple(self._fitted_core().names)

    @property
    def filtered_probs_(self) -> Array:
        """P(slot | all rows so far), (K,)."""
        core = self._fitted_core()
        return np.array(core.probs[: core.n_slots])

    @property
    def staying_(self) -> float:
        """Learned probability that the next row has the same law."""
        return 1.0 - self._fitted_core().leaving() - self.new_law

    @property
    def slot_coef_(self) -> Array:
        """Slopes of each slot under its best forgetting factor, in units of y per unit of x."""
        return self._squeezed(self._slopes())

    @property
    def slot_intercept_(self) -> Array:
        """Value of each slot where every feature is zero."""
        core = self._fitted_core()
        units = core.units
        if not self.fit_intercept:
            return self._squeezed(np.zeros((core.n_slots, self.n_outputs_)))
        constant = np.array([law[:, 0] for law in self._laws()]) * units.y_scale + units.y_shift
        return self._squeezed(constant - self._slopes() @ units.x_shift)

    @property
    def noise_variance_(self) -> Array:
        """Noise variance of each slot, in squared units of y."""
        core = self._fitted_core()
        best = [core.bank.best_factor(k) for k in range(core.n_slots)]
        each = [core.bank.rate[k, j] / core.bank.shape[k, j] for k, j in enumerate(best)]
        return self._squeezed(np.array(each) * core.units.y_scale**2)

    def _laws(self) -> list[Array]:
        bank = self._core.bank
        return [bank.coef[k, bank.best_factor(k)] for k in range(self._core.n_slots)]

    def _slopes(self) -> Array:
        units = self._fitted_core().units
        slopes = np.array([law[:, int(self.fit_intercept) :] for law in self._laws()])
        return slopes * units.x_factor * units.y_scale[:, None]

    def _squeezed(self, values: Array) -> Array:
        return values if self.several_ else values[:, 0]

    def _fitted_core(self) -> OnlineSlots:
        check_is_fitted(self)
        return self._core

    def _views(self, X: ArrayLike) -> Iterator[Outlook]:
        check_is_fitted(self)
        return map(self._core.outlook, self._validated(X, reset=False))

    def _labels(self) -> list[str]:
        core = self._core
        slots = [f"slot {name}" for name in core.names] + ["candidate"] * core.candidate
        each = [name for name in slots for _ in self.forgetting]
        return [*each, *(f"{name}, outlier" for name in slots), "new law"]

    def _forget(self) -> None:
        for name in ("_core", "n_features_in_", "feature_names_in_", "n_outputs_", "several_"):
            self.__dict__.pop(name, None)

    def _begun(
        self, n_features: int, output_shape: tuple[int, ...], names: list[Any] | None = None
    ) -> OnlineSlots:
        """The learner, made with the first row's sizes and checked against later ones."""
        if not hasattr(self, "_core"):
            core = OnlineSlots(self._settings(), n_features, math.prod(output_shape))
            self._core = core
            self.n_features_in_ = n_features
            self.n_outputs_ = math.prod(output_shape)
            self.several_ = len(output_shape) == 1
            if names is not None and all(isinstance(name, str) for name in names):
                self.feature_names_in_ = np.array(names, dtype=object)
        if output_shape != ((self.n_outputs_,) if self.several_ else ()):
            wanted = f"{self.n_outputs_} outputs" if self.several_ else "one number per row"
            raise InvalidInputError(
                f"expected {wanted} in y as in the rows before, got shape {output_shape} per row"
            )
        return self._core

    def _validated(self, X: ArrayLike, *y: ArrayLike, reset: bool) -> Any:
        options = {"multi_output": True, "y_numeric": True} if y else {}
        try:
            return validate_data(self, X, *y, dtype=np.float64, reset=reset, **options)
        except InvalidInputError:
            raise
        except ValueError as error:
            raise InvalidInputError(str(error)) from error

    def _row(self, x: Row, names: list[Any] | None = None) -> Array:
        """One row of finite floats, read by name where both sides have names."""
        if names is None and hasattr(self, "feature_names_in_"):
            names = list(self.feature_names_in_)
        given = _names_of(x)
        if names is not None and given is not None:
            if len(given) != len(names) or set(given) != set(names):
                raise InvalidInputError(f"expected the columns {names}, got {given}")
            x = [cast(Mapping[Any, float], x)[name] for name in names]
        elif isinstance(x, Mapping):
            x = list(x.values())
        try:
            row = np.array(x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"x must hold numbers only, got {x!r}") from error
        wanted = self.n_features_in_ if self.is_fitted else row.size
        if row.ndim != 1 or len(row) != wanted or not len(row):
            raise InvalidInputError(
                f"x must be one row of {wanted or 'one or more'} features, got shape {row.shape}"
            )
        if not np.isfinite(row).all():
            raise InvalidInputError(f"x must be finite, got {row[~np.isfinite(row)][0]}")
        return row

    def _settings(self) -> SlotSettings:
        for name in ("max_slots", "merge_every"):
            value = getattr(self, name)
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if not whole or value < 1:
                raise InvalidInputError(f"expected {name} to be an integer >= 1, got {value!r}")
        for name in ("stay", "new_law", "outliers", "threshold", "evidence"):
            if not isinstance(getattr(self, name), numbers.Real):
                raise InvalidInputError(
                    f"expected {name} to be a number, got {getattr(self, name)!r}"
                )
        for name, low, high in (
            ("stay", 0.0, 1.0),
            ("new_law", 0.0, 1.0 - self.stay),
            ("outliers", 0.0, 0.5),
            ("threshold", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value < high or (name in ("stay", "new_law") and value == 0):
                raise InvalidInputError(
                    f"expected {name} between {low:g} and {high:g}, got {value!r}"
                )
        if not self.evidence >= 0:
            raise InvalidInputError(f"expected evidence to be >= 0, got {self.evidence!r}")
        given = np.atleast_1d(self.forgetting)
        factors = tuple(given.astype(float).tolist()) if given.dtype.kind in "fiu" else ()
        ordered = all(a > b for a, b in pairwise(factors))
        if not factors or not ordered or not 0.5 <= factors[-1] <= factors[0] <= 1.0:
            raise InvalidInputError(
                f"expected forgetting factors from 1 down to 0.5, got {self.forgetting!r}"
            )
        if self.gate and not self.fit_intercept:
            raise InvalidInputError("expected fit_intercept=True with gate=True: it finds the mean")
        return SlotSettings(
            max_slots=int(self.max_slots),
            forgetting=factors,
            stay=float(self.stay),
            new=float(self.new_law),
            outliers=float(self.outliers),
            threshold=float(self.threshold),
            evidence=float(self.evidence),
            merge_every=int(self.merge_every),
            gate=bool(self.gate),
            intercept=bool(self.fit_intercept),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _names_of(x: Row) -> list[Any] | None:
    """Names of a mapping's or Series' entries; None for what has none."""
    if isinstance(x, Mapping):
        return list(x)
    index = getattr(x, "index", None)
    return None if index is None or callable(index) else list(index)  # a list's is a method
