"""The row table every slot solver works on, and the one product they all need.

Experts, gate and Gauss-Newton steps each want matrices ``sum_t c_t z_t z_t'`` for many weightings
``c`` of the same rows at once. With the products ``z_a z_b`` laid out as columns that is a single
matrix multiplication; :meth:`Design.grams` is that multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Design", "log_softmax", "softmax"]

Array = NDArray[np.float64]

_CACHED_PRODUCTS = 6_000_000  # numbers; beyond this the products are rebuilt in chunks of rows


@dataclass(frozen=True)
class Design:
    """Standardised rows of a slot regression.

    Attributes
    ----------
    Z : (n, D)
        features, with a column of ones last
    Y : (n, p)
        targets
    weights : (n,)
        non-negative row weights; a weight of 2 counts a row twice
    """

    Z: Array
    Y: Array
    weights: Array

    @classmethod
    def build(cls, X: Array, Y: Array, weights: Array) -> Design:
        """Append the column of ones and drop rows of weight zero."""
        keep = weights > 0
        Z = np.column_stack([X, np.ones(len(X))])[keep]
        return cls(np.ascontiguousarray(Z), np.ascontiguousarray(Y[keep]), weights[keep])

    def rows(self, index: NDArray[np.intp]) -> Design:
        """The design restricted to some rows."""
        return Design(self.Z[index], self.Y[index], self.weights[index])

    @property
    def total(self) -> float:
        """Sum of the row weights."""
        return float(self.weights.sum())

    @cached_property
    def upper(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Index pairs (a, b), a <= b, of the distinct products of two columns."""
        return np.triu_indices(self.Z.shape[1])

    @cached_property
    def products(self) -> Array:
        """Row-weighted products ``w_t z_ta z_tb``, shape (n, D (D + 1) / 2)."""
        return _pair_products(self.Z, self.weights, self.upper)

    @cached_property
    def moments(self) -> Array:
        """Row-weighted products ``w_t z_ta y_to``, shape (n, p D)."""
        weighted = self.Y * self.weights[:, None]
        return (weighted[:, :, None] * self.Z[:, None, :]).reshape(len(self.Z), -1)

    def grams(self, C: Array) -> Array:
        """``sum_t w_t C_mt z_t z_t'`` for every row m of C; shape (m, D, D)."""
        n, D = self.Z.shape
        if n * len(self.upper[0]) <= _CACHED_PRODUCTS:
            flat = C @ self.products
        else:
            flat = np.zeros((len(C), len(self.upper[0])))
            step = max(_CACHED_PRODUCTS // (8 * len(self.upper[0])), 64)
            for start in range(0, n, step):
                rows = slice(start, start + step)
                block = _pair_products(self.Z[rows], self.weights[rows], self.upper)
                flat += C[:, rows] @ block
        full = np.empty((len(C), D, D))
        full[:, self.upper[0], self.upper[1]] = flat
        full[:, self.upper[1], self.upper[0]] = flat
        return full

    def cross(self, C: Array) -> Array:
        """``sum_t w_t C_mt y_to z_t`` for every row m of C; shape (m, p, D)."""
        return (C @ self.moments).reshape(len(C), self.Y.shape[1], self.Z.shape[1])

    def ordinary(self, ridge: Array) -> Array:
        """One (ridge) regression on all rows: coefficients (p, D)."""
        root = np.sqrt(self.weights)[:, None]
        A = np.vstack([self.Z * root, np.diag(np.sqrt(ridge))])
        B = np.vstack([self.Y * root, np.zeros((self.Z.shape[1], self.Y.shape[1]))])
        return np.ascontiguousarray(np.linalg.lstsq(A, B, rcond=None)[0].T)


def _pair_products(
    Z: Array, weights: Array, upper: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> Array:
    return (Z * weights[:, None])[:, upper[0]] * Z[:, upper[1]]


def log_softmax(U: Array, axis: int) -> Array:
    """Logarithm of :func:`softmax`, safe for scores of any size."""
    shifted = U - U.max(axis, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis, keepdims=True))
    return np.asarray(shifted)


def softmax(U: Array, axis: int) -> Array:
    """``exp(u_k) / sum_j exp(u_j)`` along an axis, safe for scores of any size."""
    shifted = U - U.max(axis, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis, keepdims=True)
    return np.asarray(shifted)
