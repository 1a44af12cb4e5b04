r"""Shrinkage of the slots: ridge, partial pooling toward a shared base, low-rank deviations.

The penalty on one output's slots, in squared error, is

.. math::
    \sum_k \sum_j \rho_j W_{kj}^2 + \lambda_j (W_{kj} - \bar W_j)^2,

the profile of :math:`W_{kj} \sim N(W_{0j}, \sigma^2 / \lambda_j)` over the base :math:`W_0`. With
:math:`\lambda = 0` slots are independent; as :math:`\lambda \to \infty` they are one regression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from regimeslot.solvers.slot_design import Array
from regimeslot.solvers.slot_low_rank import low_rank_slots

__all__ = ["SlotPenalty", "estimate_pooling"]

_MOST = 1e7  # largest estimated strength per unit of row weight: slots agree to seven digits


@dataclass(frozen=True)
class SlotPenalty:
    """How slots are held together.

    Attributes
    ----------
    ridge, pooling : (D,)
        strengths per coefficient, in squared error of one row
    n_slots
        K
    jitter
        keeps a slot with too few rows solvable; far below one row's weight
    rank
        largest rank of the deviations from the base, or None
    """

    ridge: Array
    pooling: Array
    n_slots: int
    jitter: float
    rank: int | None = None

    @cached_property
    def matrix(self) -> Array:
        """The quadratic form's matrix, (K D, K D)."""
        K, D = self.n_slots, len(self.ridge)
        blocks = np.zeros((K, D, K, D))
        j = np.arange(D)
        for a in range(K):
            blocks[a, j, a, j] += self.ridge + self.pooling + self.jitter
            for b in range(K):
                blocks[a, j, b, j] -= self.pooling / K
        return blocks.reshape(K * D, K * D)

    def value(self, W: Array) -> float:
        """Penalty of slots W (K, p, D), without the jitter."""
        deviation = W - W.mean(0)
        return float((self.ridge * W**2).sum() + (self.pooling * deviation**2).sum())

    def scaled(self, factor: float) -> SlotPenalty:
        """The same penalty for a subsample that holds ``factor`` of the rows."""
        return replace(
            self,
            ridge=self.ridge * factor,
            pooling=self.pooling * factor,
            jitter=self.jitter * factor,
        )

    def system(self, grams: Array) -> Array:
        """Normal equations of all slots together, (K D, K D), from their Gram matrices."""
        K, D = grams.shape[:2]
        A = self.matrix.reshape(K, D, K, D).copy()
        slots = np.arange(K)
        A[slots, :, slots, :] += grams
        return A.reshape(K * D, K * D)

    def solve(self, grams: Array, cross: Array) -> Array:
        """Penalised least squares of every slot: grams (K, D, D), cross (K, p, D)."""
        K, p, D = cross.shape
        if self.rank is not None and self.rank < min(K - 1, D):
            own = grams + np.diag(self.ridge + self.pooling + self.jitter)
            return low_rank_slots(own, cross, self.rank)
        if not self.pooling.any():
            A = grams + np.diag(self.ridge + self.jitter)
            return np.asarray(np.linalg.solve(A, cross.transpose(0, 2, 1)).transpose(0, 2, 1))
        B = cross.transpose(0, 2, 1).reshape(K * D, p)
        solution = np.linalg.solve(self.system(grams), B)
        return np.asarray(solution.reshape(K, D, p).transpose(0, 2, 1))


def estimate_pooling(
    penalty: SlotPenalty, grams: Array, cross: Array, variance: Array, *, iterations: int = 30
) -> SlotPenalty:
    r"""The pooling strength of every coefficient that makes the rows most likely.

    Fixed-point iteration on the evidence of the random-coefficient model given each slot's rows
    (MacKay 1992): :math:`\lambda_j = \gamma_j / \sum_k (W_{kj} - \bar W_j)^2 \sigma^{-2}`, where
    :math:`\gamma_j` counts the deviations that the rows determine. A coefficient whose slots
    differ by less than its standard error is pooled completely.

    Parameters
    ----------
    penalty
        its ridge is kept; its pooling, where positive, is the start
    grams : (K, D, D)
    cross : (K, p, D)
        the slots' sufficient statistics
    variance : (p,)
        residual variance of each output
    """
    K, p, D = cross.shape
    centre = np.eye(K) - 1 / K
    most = _MOST * float(grams[:, -1, -1].sum())
    strength = np.where(penalty.pooling > 0, penalty.pooling, 1.0)
    for _ in range(iterations):
        penalty = replace(penalty, pooling=strength)
        covariance = np.linalg.inv(penalty.system(grams))
        B = cross.transpose(0, 2, 1).reshape(K * D, p)
        W = (covariance @ B).reshape(K, D, p)
        squares = ((W - W.mean(0)) ** 2 / variance).sum((0, 2))
        blocks = covariance.reshape(K, D, K, D)
        left_open = np.einsum("ab,bjaj->j", centre, blocks) * p
        determined = np.maximum((K - 1) * p - strength * left_open, 0.0)
        new = np.minimum(determined / np.maximum(squares, np.finfo(float).tiny), most)
        new = np.maximum(new, 1e-12)
        if np.all(np.abs(np.log(new / strength)) < 1e-3):
            break
        strength = new
    return replace(penalty, pooling=strength)
