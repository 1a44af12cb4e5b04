"""How the parameters of a Markov-switching model lie in one vector, and what they are called.

The optimiser works on unconstrained numbers of standardised data, stacked as ``(S, n)`` for S
starts or series. :class:`Parts` is the same with one axis per meaning. Names and order of the
public parameters are those of statsmodels, so that estimates can be laid side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

__all__ = [
    "DOF_CEILING",
    "DOF_FLOOR",
    "FAR",
    "VARIANCE_FLOOR",
    "ZERO_LOGIT",
    "Layout",
    "Parts",
    "dof_from_raw",
    "raw_from_dof",
    "transition_from_logits",
]

Array = NDArray[np.float64]

VARIANCE_FLOOR = 1e-6  # of a regime, as a fraction of the residual variance of one regime
DOF_FLOOR = 2.1  # keeps every variance finite
_LOGIT_LIMIT = 25.0  # exp(-25) = 1e-11: nothing is gained beyond, and the chain stays irreducible
ZERO_LOGIT = -_LOGIT_LIMIT
DOF_CEILING = 1000.0  # as good as Gaussian: a law with a name and a place, not a walk to infinity
_DOF_SHIFT = float(np.log(DOF_CEILING - DOF_FLOOR))
FAR = 25.0  # this far out in a raw parameter, the bound is met to one part in 10^10


def transition_from_logits(logits: Array) -> Array:
    """Row-wise softmax of bounded logits, over the axis of the next regime (-2 or last).

    ``logits`` is (S, K, K, ...) with zero diagonal; the softmax runs over axis 2.
    """
    bounded = np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)
    bounded = bounded - bounded.max(axis=2, keepdims=True)
    weights = np.exp(bounded, out=bounded)
    weights /= weights.sum(axis=2, keepdims=True)
    return weights


def dof_from_raw(raw: Array) -> Array:
    """Degrees of freedom between their floor and their ceiling, by a logistic curve.

    Below a hundred it is ``floor + exp(raw)``; there is no kink at the ceiling, so the score tells
    an optimiser the truth everywhere.
    """
    return DOF_FLOOR + (DOF_CEILING - DOF_FLOOR) * expit(raw - _DOF_SHIFT)


def raw_from_dof(dof: ArrayLike) -> Array:
    """The inverse of :func:`dof_from_raw`; the bounds are :data:`FAR` out."""
    share = (np.asarray(dof, dtype=float) - DOF_FLOOR) / (DOF_CEILING - DOF_FLOOR)
    raw: Array = _DOF_SHIFT + logit(np.clip(share, expit(-FAR - _DOF_SHIFT), expit(FAR)))
    return raw


@dataclass(frozen=True)
class Parts:
    """Parameters with their axes: S starts, K regimes.

    Attributes
    ----------
    logits : (S, K, K, Q)
        Coefficients of log P(i -> j) / P(i -> i) on the Q transition regressors; zero diagonal.
    coef : (S, K, J)
        Regression coefficients.
    ar : (S, K, p)
        Autoregressive coefficients of the mean-adjusted form.
    raw_variance : (S, K)
        log(variance - floor).
    raw_dof : (S, K)
        See :func:`dof_from_raw`; empty last axis for Gaussian models.
    raw_initial : (S, K)
        Logits of an estimated initial distribution; empty last axis otherwise.
    """

    logits: Array
    coef: Array
    ar: Array
    raw_variance: Array
    raw_dof: Array
    raw_initial: Array

    @property
    def variance(self) -> Array:
        """Squared scales (S, K)."""
        return VARIANCE_FLOOR + np.exp(np.minimum(self.raw_variance, 50.0))

    @property
    def dof(self) -> Array:
        """Degrees of freedom (S, K)."""
        return dof_from_raw(self.raw_dof)

    def permute(self, order: NDArray[np.intp]) -> Parts:
        """Rename the regimes: the new regime k is the old ``order[k]``."""
        initial = self.raw_initial
        if initial.shape[1]:
            initial = initial[:, order]
            initial = initial - initial[:, -1:]
        return Parts(
            self.logits[:, order][:, :, order],
            self.coef[:, order],
            self.ar[:, order],
            self.raw_variance[:, order],
            self.raw_dof[:, order] if self.raw_dof.shape[1] else self.raw_dof,
            initial,
        )

    def __getitem__(self, rows: object) -> Parts:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Layout:
    """Shape of one model's parameters.

    Attributes
    ----------
    n_regimes : int
        K.
    columns : tuple of str
        Names of the J regression columns.
    switching : tuple of bool
        Whether each column's coefficient switches.
    n_ar : int
        Order of the mean-adjusted autoregression (0 in the intercept form, where lags are columns).
    switching_ar, switching_variance, student, switching_dof : bool
    n_tvtp : int
        Number Q of transition regressors; 0 is a constant transition matrix.
    estimated_initial : bool
        Whether the initial distribution is a parameter.
    """

    n_regimes: int
    columns: tuple[str, ...]
    switching: tuple[bool, ...]
    n_ar: int = 0
    switching_ar: bool = False
    switching_variance: bool = False
    student: bool = False
    switching_dof: bool = False
    n_tvtp: int = 0
    estimated_initial: bool = False

    @cached_property
    def off_diagonal(self) -> NDArray[np.bool_]:
        """(K, K): moves to another regime."""
        return ~np.eye(self.n_regimes, dtype=bool)

    @cached_property
    def position(self) -> NDArray[np.intp]:
        """(K, J): which free coefficient each regime's column uses."""
        position = np.empty((self.n_regimes, len(self.columns)), np.intp)
        free = 0
        for j, switches in enumerate(self.switching):
            width = self.n_regimes if switches else 1
            position[:, j] = free + (np.arange(self.n_regimes) if switches else 0)
            free += width
        return position

    @cached_property
    def spread(self) -> Array:
        """(K, J, n_coef) of zeros and ones: ``coef = spread @ free coefficients``."""
        return np.eye(self.n_coef)[self.position]

    @property
    def n_coef(self) -> int:
        """Number of free regression coefficients."""
        return sum(self.n_regimes if s else 1 for s in self.switching)

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Where each part lies in the vector."""
        k = self.n_regimes
        widths = {
            "logits": k * (k - 1) * max(1, self.n_tvtp),
            "coef": self.n_coef,
            "ar": self.n_ar * (k if self.switching_ar else 1),
            "variance": k if self.switching_variance else 1,
            "dof": (k if self.switching_dof else 1) if self.student else 0,
            "initial": k - 1 if self.estimated_initial else 0,
        }
        edges = np.cumsum([0, *widths.values()])
        return {name: slice(int(edges[i]), int(edges[i + 1])) for i, name in enumerate(widths)}

    @property
    def n_params(self) -> int:
        """Length of the vector."""
        return self.blocks["initial"].stop

    def unpack(self, theta: Array) -> Parts:
        """Vector (S, n) to :class:`Parts`."""
        size, k, at = theta.shape[0], self.n_regimes, self.blocks
        per_move = max(1, self.n_tvtp)
        logits = np.zeros((size, k, k, per_move))
        moves = theta[:, at["logits"]].reshape(size, k * (k - 1), per_move)
        logits[:, self.off_diagonal] = moves
        ar = (
            theta[:, at["ar"]].reshape(size, -1, self.n_ar) if self.n_ar else np.empty((size, 1, 0))
        )
        initial = np.empty((size, 0))
        if self.estimated_initial:
            initial = np.concatenate([theta[:, at["initial"]], np.zeros((size, 1))], axis=1)
        dof = theta[:, at["dof"]]
        return Parts(
            logits,
            theta[:, at["coef"]][:, self.position],
            np.broadcast_to(ar, (size, k, self.n_ar)),
            np.broadcast_to(theta[:, at["variance"]], (size, k)),
            np.broadcast_to(dof, (size, k)) if self.student else dof,
            initial,
        )

    def pack(self, parts: Parts) -> Array:
        """:class:`Parts` to the vector; a common parameter is read from the first regime."""
        size = parts.coef.shape[0]
        theta = np.empty((size, self.n_params))
        at = self.blocks
        theta[:, at["logits"]] = parts.logits[:, self.off_diagonal].reshape(size, -1)
        theta[:, at["coef"]][:, self.position] = parts.coef
        theta[:, at["ar"]] = (parts.ar if self.switching_ar else parts.ar[:, :1]).reshape(size, -1)
        width = at["variance"].stop - at["variance"].start
        theta[:, at["variance"]] = parts.raw_variance[:, :width]
        width = at["dof"].stop - at["dof"].start
        theta[:, at["dof"]] = parts.raw_dof[:, :width]
        width = at["initial"].stop - at["initial"].start
        theta[:, at["initial"]] = parts.raw_initial[:, :width]
        return theta

    def collapse_coef(self, per_regime: Array) -> Array:
        """Gradient by coefficients (S, K, J) to the gradient by free coefficients."""
        return np.einsum("skj,kjf->sf", per_regime, self.spread)

    def collapse(self, per_regime: Array, switches: bool) -> Array:
        """Gradient by regime (S, K, ...) to the vector's entries: kept, or summed over regimes."""
        size = per_regime.shape[0]
        return (per_regime if switches else per_regime.sum(axis=1)).reshape(size, -1)
