"""Pool: the linear combination of several forecasters' densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Features, Forecaster

__all__ = ["Pool"]


class Pool(Forecaster):
    """Linear pool ``p(y) = sum_m v_m p_m(y)`` of its members' densities.

    A pool of mixtures is a mixture of all their components, so that it is scored like any model.
    Equal weights are hard to beat (Geweke and Amisano 2011, Journal of Econometrics 164).

    Parameters
    ----------
    members : mapping of str to Forecaster
    weights : sequence of float, optional
        One a member, default equal.
    warm_start : bool
        Passed on to the members at ``fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from regimeslot.models.baselines import LinearForecaster, MeanForecaster
    >>> X, y = np.zeros((100, 1)), np.random.default_rng(0).standard_normal(100)
    >>> pool = Pool(members={"mean": MeanForecaster(), "gaussian": MeanForecaster(
    ...     likelihood="gaussian")}).fit(X, y)
    >>> pool.predict(X[:3]).weights.round(2).tolist()[0]
    [0.5, 0.5]
    """

    def __init__(
        self,
        *,
        members: Mapping[str, Forecaster],
        weights: ArrayLike | None = None,
        warm_start: bool = False,
    ) -> None:
        self.members = members
        self.weights = weights
        self.warm_start = warm_start

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # members decide
        """Modules that fitting will import."""
        return tuple(name for member in self.members.values() for name in member.requires)

    @property
    def horizon(self) -> int:  # type: ignore[override]  # members decide
        """The members' horizon."""
        return next(iter(self.members.values())).horizon

    def clone(self, **changes: Any) -> Self:
        """An unfitted copy with unfitted members."""
        warm = changes.pop("warm_start", self.warm_start)
        members = {n: m.clone(warm_start=warm) for n, m in self.members.items()}
        return type(self)(
            **{"members": members, "weights": self.weights, "warm_start": warm, **changes}
        )

    def fit(self, X: Features, y: ArrayLike) -> Self:
        """Fit every member on the same rows."""
        if not self.members:
            raise InvalidInputError("a pool needs at least one member")
        horizons = {name: member.horizon for name, member in self.members.items()}
        if len(set(horizons.values())) > 1:
            raise InvalidInputError(f"members of a pool must share one horizon, got {horizons}")
        fitted = self.get_state().get("members_") if self.warm_start else None
        self.members_: dict[str, Forecaster] = {
            name: (fitted[name] if fitted else member.clone(warm_start=self.warm_start)).fit(X, y)
            for name, member in self.members.items()
        }
        return self

    def combine(self, forecasts: Mapping[str, MixtureForecast]) -> MixtureForecast:
        """Pool forecasts that the members have already made for the same rows."""
        missing = [name for name in self.members if name not in forecasts]
        if missing:
            raise InvalidInputError(f"no forecast of the member(s) {', '.join(missing)}")
        weights = None if self.weights is None else np.asarray(self.weights, float)
        return MixtureForecast.pool([forecasts[name] for name in self.members], weights=weights)

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one."""
        self._require_fit()
        return self.combine({name: m.predict(X, y) for name, m in self.members_.items()})

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move every member past rows whose target has become known."""
        self._require_fit()
        for member in self.members_.values():
            member.update(X, y)
        return self
