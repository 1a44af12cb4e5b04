r"""Shrinkage of the slots: a ridge on each slot and partial pooling toward a shared base.

The penalty on one output's slots, in squared error, is

.. math::
    \sum_k \sum_j \rho_j W_{kj}^2 + \lambda_j (W_{kj} - \bar W_j)^2,

the profile of :math:`W_k \sim N(W_0, \sigma^2 / \lambda)` over the base :math:`W_0`. With
:math:`\lambda = 0` slots are independent; as :math:`\lambda \to \infty` they are one regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from regimeslot.solvers.slot_design import Array

__all__ = ["SlotPenalty"]


@dataclass(frozen=True)
class SlotPenalty:
    """Ridge and pooling strengths per coefficient, both (D,), in squared error of one row."""

    ridge: Array
    pooling: Array
    n_slots: int
    jitter: float  # keeps a slot with too few rows solvable; far below one row's weight

    @cached_property
    def matrix(self) -> Array:
        """The quadratic form's matrix, (K D, K D)."""
        K, D = self.n_slots, len(self.ridge)
        blocks = np.zeros((K, D, K, D))
        own, shared = self.ridge + self.pooling + self.jitter, self.pooling / K
        j = np.arange(D)
        for a in range(K):
            blocks[a, j, a, j] += own
            for b in range(K):
                blocks[a, j, b, j] -= shared
        return blocks.reshape(K * D, K * D)

    def value(self, W: Array) -> float:
        """Penalty of slots W (K, p, D), without the jitter."""
        deviation = W - W.mean(0)
        return float((self.ridge * W**2).sum() + (self.pooling * deviation**2).sum())

    def scaled(self, factor: float) -> SlotPenalty:
        """The same penalty for a subsample that holds ``factor`` of the rows."""
        return SlotPenalty(
            self.ridge * factor, self.pooling * factor, self.n_slots, self.jitter * factor
        )

    def solve(self, grams: Array, cross: Array) -> Array:
        """Penalised least squares of every slot: grams (K, D, D), cross (K, p, D)."""
        K, p, D = cross.shape
        if not self.pooling.any():
            A = grams + np.diag(self.ridge + self.jitter)
            return np.asarray(np.linalg.solve(A, cross.transpose(0, 2, 1)).transpose(0, 2, 1))
        A = self.matrix.reshape(K, D, K, D).copy()
        slots = np.arange(K)
        A[slots, :, slots, :] += grams
        B = cross.transpose(0, 2, 1).reshape(K * D, p)
        solution = np.linalg.solve(A.reshape(K * D, K * D), B)
        return np.asarray(solution.reshape(K, D, p).transpose(0, 2, 1))
