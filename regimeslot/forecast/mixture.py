"""The one forecast type: a finite mixture of two-piece Student-t components per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import density
from regimeslot.forecast.checks import (
    PARAMETERS,
    as_labels,
    as_levels,
    as_points,
    component_arrays,
    row_index,
)
from regimeslot.forecast.combine import concatenated, described, pooled
from regimeslot.forecast.crps import mixture_crps
from regimeslot.forecast.draw import draw, mean_beyond
from regimeslot.forecast.root import mixture_quantile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MixtureForecast"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class MixtureForecast:
    """Predictive distributions, one row per forecast, each a mixture of K components.

    ``p(y) = sum_k w_k t_{nu_k}((y - m_k) / (s_k (1 + lambda_k sign(y - m_k)))) / s_k``

    Arrays may be given as ``(n, K)``, ``(n, 1)``, ``(K,)`` or scalars; they are copied, broadcast
    to ``(n, K)`` and made read-only. Location, scale and ``y`` share one unit (decimal log return,
    say). ``index`` and the index of a pandas ``y`` must agree wherever both are there.

    Parameters
    ----------
    weights : (n, K)
        Non-negative, each row sums to 1.
    locations : (n, K)
        Modes; where ``skew`` is 0 also centres of symmetry.
    scales : (n, K)
        Scale parameters, ``std = scale sqrt(dof / (dof - 2))`` where ``skew`` is 0.
    dof : (n, K)
        Degrees of freedom nu > 0; ``inf`` is the Gaussian.
    skew : (n, K), optional
        lambda in (-1, 1); the mass right of the mode is ``(1 + lambda) / 2``. Default 0.
    index : pandas Index of n rows, optional
    labels : K names of the components, optional

    Raises
    ------
    InvalidInputError
        A shape or value is not usable; the message names the row and the component.

    References
    ----------
    Hansen, B. E. (1994). Autoregressive conditional density estimation. International Economic
    Review 35, 705-730. (The skewed t, here by mode and scale instead of mean and deviation.)

    Examples
    --------
    >>> calm_or_crisis = MixtureForecast([0.9, 0.1], [0.001, -0.002], [0.007, 0.02], [8, 4])
    >>> calm_or_crisis.value_at_risk(0.01).round(4)
    array([0.0336])
    >>> calm_or_crisis.probability_of_loss().round(3)
    array([0.454])
    """

    weights: Array
    locations: Array
    scales: Array
    dof: Array
    skew: Array
    index: pd.Index | None
    labels: tuple[str, ...] | None

    def __init__(
        self,
        weights: ArrayLike,
        locations: ArrayLike,
        scales: ArrayLike,
        dof: ArrayLike,
        skew: ArrayLike | None = None,
        index: pd.Index | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        rows = row_index(index)
        given = (weights, locations, scales, dof, 0.0 if skew is None else skew)
        arrays = component_arrays(given, None if rows is None else len(rows))
        for name, array in zip(PARAMETERS, arrays, strict=True):
            object.__setattr__(self, name, array)
        object.__setattr__(self, "index", rows)
        object.__setattr__(self, "labels", as_labels(labels, self.n_components))

    @classmethod
    def from_std(
        cls,
        weights: ArrayLike,
        locations: ArrayLike,
        stds: ArrayLike,
        dof: ArrayLike = np.inf,
        *,
        index: pd.Index | None = None,
        labels: Sequence[str] | None = None,
    ) -> MixtureForecast:
        """Build a symmetric mixture from the means and standard deviations of its components.

        Parameters
        ----------
        weights, locations, stds, dof : as in the class, with ``stds`` instead of ``scales``
            ``dof`` must be above 2, else the standard deviation does not exist.
        index, labels : as in the class

        Examples
        --------
        >>> MixtureForecast.from_std(1.0, 0.0, 0.01, 5.0).std().round(6)
        array([0.01])
        """
        nu = np.asarray(dof, np.float64)
        if not np.all(nu > 2.0):
            raise InvalidInputError(
                "dof must be above 2 for a standard deviation to exist, got a smallest value of "
                f"{np.min(nu):g}; give scales to MixtureForecast itself instead"
            )
        heavy = np.isfinite(nu)
        shrink = np.where(heavy, np.sqrt((nu - 2.0) / np.where(heavy, nu, 1.0)), 1.0)
        scales = np.asarray(stds, np.float64) * shrink
        return cls(weights, locations, scales, nu, index=index, labels=labels)

    @classmethod
    def concat(cls, forecasts: Sequence[MixtureForecast]) -> MixtureForecast:
        """Lay the rows of several forecasts behind one another.

        All must have the same number of components and the same labels, and either all or none
        an index.

        Examples
        --------
        >>> one = MixtureForecast(1.0, 0.0, 1.0, 5.0)
        >>> len(MixtureForecast.concat([one, one]))
        2
        """
        return cls._of(*concatenated(_several(forecasts)))

    @classmethod
    def pool(
        cls, forecasts: Sequence[MixtureForecast], weights: ArrayLike | None = None
    ) -> MixtureForecast:
        """Linear pool: the weighted average of the densities, a mixture with more components.

        ``p(y) = sum_j v_j p_j(y)``; the components are laid side by side, so each forecast may
        have its own number of them. Labels are kept where every forecast has some.

        Parameters
        ----------
        forecasts : J forecasts of the same rows
        weights : (J,) or (n, J), optional
            v, non-negative with sum 1; default equal.

        Examples
        --------
        >>> narrow, wide = (MixtureForecast(1.0, 0.0, scale, np.inf) for scale in (1.0, 3.0))
        >>> MixtureForecast.pool([narrow, wide]).var()
        array([5.])
        """
        return cls._of(*pooled(_several(forecasts), weights))

    def __len__(self) -> int:
        return int(self.weights.shape[0])

    def __repr__(self) -> str:
        rows = f"{len(self)} row" + ("" if len(self) == 1 else "s")
        return f"MixtureForecast({rows}, {described(self)})"

    def __getitem__(self, rows: int | slice | ArrayLike) -> MixtureForecast:
        """Rows by position: a number, a slice, numbers or a mask; always a MixtureForecast."""
        chosen: Any = rows
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of a forecast with {len(self)} rows")
            chosen = [rows]
        elif not isinstance(rows, slice):
            chosen = np.asarray(rows)
            if chosen.size == 0:
                chosen = chosen.astype(np.intp)
            if chosen.ndim != 1 or chosen.dtype.kind not in "bui":
                raise InvalidInputError(
                    "rows must be a number, a slice, or one dimension of numbers or a mask, "
                    f"got {chosen.ndim} dimensions of {chosen.dtype}"
                )
        index = None if self.index is None else self.index[chosen]
        return self._of([array[chosen] for array in self.parameters], index, self.labels)

    @property
    def n_components(self) -> int:
        """K."""
        return int(self.weights.shape[1])

    @property
    def parameters(self) -> tuple[Array, Array, Array, Array, Array]:
        """Weights, locations, scales, dof and skew, each (n, K)."""
        return self.weights, self.locations, self.scales, self.dof, self.skew

    def mean(self) -> Array:
        """Means (n,); NaN where a component that has weight has ``dof <= 1``."""
        with np.errstate(invalid="ignore"):
            return np.where(self.weights > 0, self.weights * self._component_means(), 0.0).sum(1)

    def var(self) -> Array:
        """Variances (n,), between and within components.

        ``sum_k w_k (v_k + (m_k - m)^2)``. NaN where a component that has weight has
        ``dof <= 1`` (no mean), else ``inf`` where one has ``dof <= 2``.
        """
        live = self.weights > 0
        finite = np.isfinite(self.dof)
        nu = np.where(finite, self.dof, 3.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(finite, np.where(nu > 2.0, nu / (nu - 2.0), np.inf), 1.0)
            means = self._component_means()
            # second moment about the mode, then about the mean of the mixture
            second = self.scales**2 * (1.0 + 3.0 * self.skew**2) * ratio
            within = second - (means - self.locations) ** 2
            between = (means - self.mean()[:, None]) ** 2
            return np.where(live, self.weights * (within + between), 0.0).sum(axis=1)

    def std(self) -> Array:
        """Standard deviations (n,), with the rules of :meth:`var`."""
        return np.sqrt(self.var())

    def logpdf(self, y: ArrayLike) -> Array:
        """Log density at ``y``: a scalar or (n,) gives (n,), (n, m) gives (n, m)."""
        points, shape = as_points(y, len(self), self.index)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)[:, None, :]
        each = log_weights + density.log_density(points[:, :, None], *self._parts())
        top = each.max(axis=2)
        top = np.where(np.isneginf(top), 0.0, top)  # every component underflows: stay at -inf
        with np.errstate(divide="ignore"):
            return (top + np.log(np.exp(each - top[:, :, None]).sum(axis=2))).reshape(shape)

    def pdf(self, y: ArrayLike) -> Array:
        """Density at ``y``; shapes as in :meth:`logpdf`."""
        return np.exp(self.logpdf(y))

    def cdf(self, y: ArrayLike) -> Array:
        """Probability of at most ``y``; shapes as in :meth:`logpdf`."""
        points, shape = as_points(y, len(self), self.index)
        each = density.lower_tail(points[:, :, None], *self._parts())
        return np.einsum("nk,nmk->nm", self.weights, each).reshape(shape)

    def quantile(self, p: ArrayLike) -> Array:
        """Smallest y with ``cdf(y) >= p``, to 1e-10 in probability.

        Parameters
        ----------
        p : scalar or (m,)
            In [0, 1]. 0 and 1 give minus and plus infinity, and so does a quantile beyond the
            largest float (possible for ``dof`` near 0).

        Returns
        -------
        (n,) or (n, m)

        Examples
        --------
        >>> MixtureForecast(1.0, 0.0, 1.0, np.inf).quantile([0.025, 0.975]).round(3)
        array([[-1.96,  1.96]])
        """
        levels = as_levels(p, "p", closed=True)
        flat = np.tile(np.atleast_1d(levels), len(self))
        result = np.where(flat <= 0, -np.inf, np.inf)
        inner = (flat > 0) & (flat < 1)
        row = np.repeat(np.arange(len(self)), np.size(levels))[inner]
        weights, *parts = (array[row] for array in self.parameters)
        result[inner] = mixture_quantile(flat[inner], weights, tuple(parts))
        return result.reshape(len(self), *levels.shape)

    def interval(self, level: float) -> Array:
        """Central interval (n, 2) that holds ``y`` with probability ``level``."""
        inside = float(as_levels(level, "level", scalar=True))
        return self.quantile([0.5 - 0.5 * inside, 0.5 + 0.5 * inside])

    def crps(self, y: ArrayLike) -> Array:
        """Continuous ranked probability score, in the unit of y; smaller is better.

        ``integral (F(x) - 1{y <= x})^2 dx``. One component and Gaussian mixtures: closed form.
        Else adaptive quadrature, accurate to about 1e-7 of the score. Infinite where a component
        that has weight has ``dof <= 1/2``.

        Parameters
        ----------
        y : scalar, (n,) or (n, m)

        References
        ----------
        Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
        estimation. Journal of the American Statistical Association 102, 359-378.

        Examples
        --------
        >>> MixtureForecast(1.0, 0.0, 1.0, np.inf).crps(0.0).round(4)
        array([0.2337])
        """
        points, shape = as_points(y, len(self), self.index)
        row = np.repeat(np.arange(len(self)), points.shape[1])
        weights, *parts = (array[row] for array in self.parameters)
        return mixture_crps(points.ravel(), weights, tuple(parts)).reshape(shape)

    def value_at_risk(self, level: ArrayLike) -> Array:
        """Loss that is exceeded with probability ``level`` (0.01 is the 1 % VaR).

        ``VaR = -quantile(level)``: positive numbers are losses; a scalar level gives (n,),
        (m,) gives (n, m).
        """
        return -self.quantile(as_levels(level, "level"))

    def expected_shortfall(self, level: ArrayLike) -> Array:
        """Mean loss in the worst ``level`` share of outcomes; positive numbers are losses.

        ``ES = -E[Y 1{Y <= q}] / level`` with q the quantile at ``level``, in closed form given q.
        Infinite where a component that has weight has ``dof <= 1``. Shapes as in
        :meth:`value_at_risk`.

        References
        ----------
        Acerbi, C. and Tasche, D. (2002). On the coherence of expected shortfall. Journal of
        Banking and Finance 26, 1487-1503.

        Examples
        --------
        >>> MixtureForecast(1.0, 0.0, 1.0, np.inf).expected_shortfall(0.05).round(4)
        array([2.0627])
        """
        levels = as_levels(level, "level")
        cut = np.atleast_2d(self.quantile(np.atleast_1d(levels)))
        shortfall = mean_beyond(cut, np.atleast_1d(levels), self.weights, self._parts())
        return shortfall.reshape(len(self), *levels.shape)

    def probability_of_loss(self) -> Array:
        """P(Y <= 0), (n,)."""
        return self.cdf(0.0)

    def sample(self, size: int = 1, random_state: int | np.random.Generator | None = None) -> Array:
        """Independent draws, (n, size).

        Examples
        --------
        >>> MixtureForecast([0.5, 0.5], [-1, 1], 0.1, 5).sample(3, random_state=0).shape
        (1, 3)
        """
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 0:
            raise InvalidInputError(f"size must be a whole number of draws per row, got {size!r}")
        rng = np.random.default_rng(random_state)
        return draw(int(size), self.weights, self._parts(), rng)

    def to_frame(self) -> pd.DataFrame:
        """One flat column per parameter and component, ``weight_0``, ``location_0``, ...

        With labels the columns are ``weight_0_calm``, ... so that a CSV or parquet file keeps
        them. :meth:`from_frame` reads the frame back.
        """
        from regimeslot.forecast.frame import to_frame

        return to_frame(self)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> MixtureForecast:
        """Read back what :meth:`to_frame` wrote; an unnamed 0..n-1 index stands for none.

        Raises
        ------
        InvalidInputError
            A column is missing or not one of a forecast.
        """
        from regimeslot.forecast.frame import from_frame

        return cls._of(*from_frame(frame))

    def _component_means(self) -> Array:
        exists = self.dof > 1.0
        top = density.half_mean(np.zeros(self.dof.shape), np.where(exists, self.dof, 2.0))
        means = self.locations + 4.0 * self.skew * self.scales * top
        return np.where(exists, means, np.nan)

    def _parts(self) -> tuple[Array, Array, Array, Array]:
        """Component parameters as (n, 1, K), to meet points (n, m, 1)."""
        return (
            self.locations[:, None],
            self.scales[:, None],
            self.dof[:, None],
            self.skew[:, None],
        )

    @classmethod
    def _of(
        cls, arrays: Sequence[Array], index: pd.Index | None, labels: tuple[str, ...] | None
    ) -> MixtureForecast:
        weights, locations, scales, dof, skew = arrays
        return cls(weights, locations, scales, dof, skew, index, labels)


def _several(forecasts: Sequence[MixtureForecast]) -> list[MixtureForecast]:
    members = list(forecasts)
    if not members or not all(isinstance(member, MixtureForecast) for member in members):
        raise InvalidInputError("expected one or more MixtureForecast objects in a list")
    return members
