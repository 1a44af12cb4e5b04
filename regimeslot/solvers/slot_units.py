"""Between the caller's units and the solvers' standardised ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.solvers.slot_design import Array, Design
from regimeslot.solvers.slot_em import SlotState

__all__ = ["RawSlots", "Units"]

_CENTRE_ERRORS = 3.0  # standard errors


@dataclass(frozen=True)
class RawSlots:
    """Slots in the caller's units.

    Attributes
    ----------
    coef : (K, p, d)
    intercept : (K, p)
    gate_coef : (K, d)
        columns sum to zero, which fixes what the softmax leaves open
    gate_intercept : (K,)
    variance : (K, p)
        residual variance
    """

    coef: Array
    intercept: Array
    gate_coef: Array
    gate_intercept: Array
    variance: Array

    def reordered(self, order: NDArray[np.intp]) -> RawSlots:
        """The same slots in another order."""
        return RawSlots(
            self.coef[order],
            self.intercept[order],
            self.gate_coef[order],
            self.gate_intercept[order],
            self.variance[order],
        )


@dataclass(frozen=True)
class Units:
    """Centre and standard deviation of every column; a constant column keeps scale one.

    The centre of a feature is its mean, or zero where the mean is within sampling error of zero:
    pooling the slots' intercepts then means that the laws meet at the features' own origin.
    """

    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array

    @classmethod
    def of(cls, X: Array, Y: Array, weights: Array) -> Units:
        """Units of the training rows."""
        x_mean, x_scale = _moments(X, weights)
        noise = _CENTRE_ERRORS * x_scale / np.sqrt(weights.sum())
        x_mean = np.where(np.abs(x_mean) <= noise, 0.0, x_mean)
        y_mean, y_scale = _moments(Y, weights)
        return cls(x_mean, x_scale, y_mean, y_scale)

    def design(self, X: Array, Y: Array, weights: Array) -> Design:
        """Standardised rows."""
        return Design.build(
            (X - self.x_mean) / self.x_scale, (Y - self.y_mean) / self.y_scale, weights
        )

    def to_raw(self, state: SlotState) -> RawSlots:
        """Standardised parameters in the caller's units."""
        coef = state.W[:, :, :-1] * self.y_scale[:, None] / self.x_scale
        intercept = state.W[:, :, -1] * self.y_scale + self.y_mean - coef @ self.x_mean
        V = state.V - state.V.mean(0)
        gate_coef = V[:, :-1] / self.x_scale
        gate_intercept = V[:, -1] - gate_coef @ self.x_mean
        variance = state.variance * self.y_scale**2
        return RawSlots(coef, intercept, gate_coef, gate_intercept, variance)

    def from_raw(self, slots: RawSlots) -> SlotState:
        """The inverse of :meth:`to_raw`: a start for rows with these units."""
        W = slots.coef * self.x_scale / self.y_scale[:, None]
        intercept = slots.intercept + slots.coef @ self.x_mean - self.y_mean
        V = slots.gate_coef * self.x_scale
        gate_intercept = slots.gate_intercept + slots.gate_coef @ self.x_mean
        V = np.column_stack([V, gate_intercept])
        return SlotState(
            np.concatenate([W, (intercept / self.y_scale)[..., None]], axis=2),
            V - V[-1],
            slots.variance / self.y_scale**2,
        )


def _moments(A: Array, weights: Array) -> tuple[Array, Array]:
    total = weights.sum()
    mean = weights @ A / total
    scale = np.sqrt(weights @ (A - mean) ** 2 / total)
    # A constant column leaves rounding noise, not a scale.
    constant = scale <= 1e-12 * np.maximum(np.abs(mean), np.finfo(float).tiny)
    return mean, np.where(constant | (scale == 0), 1.0, scale)
