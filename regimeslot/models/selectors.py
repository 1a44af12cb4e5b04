"""Selectors: the probability w_k(t) of each slot given the past, with exact derivatives.

One formula covers all of them: row t's transition probabilities are

    P_t(i, j) = softmax_j( bias[i, j] + slope[j]' z_t ),     w(t) = alpha_{t-1} P_t

where alpha_{t-1} are the filtered probabilities of the row before. Without memory the bias has one
row only, so that ``w(t) = softmax(bias + slope z_t)``; without a gate there is no slope.

| selector | memory | gate |
|---|---|---|
| static | no | no |
| softmax | no | yes |
| markov | yes | no |
| sticky | yes | yes |

Logits are relative to slot 0, which removes the softmax's redundant direction exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.scan import forward_filter, weighted_smoother
from regimeslot.markov.two_state import is_well_scaled, two_state_gradient

__all__ = ["SELECTORS", "Selection", "Selector"]

Array = NDArray[np.float64]

_LOGIT_LIMIT = 300.0  # exp of it is finite, and a probability of e^-300 is zero to any data


@dataclass(frozen=True)
class Selection:
    """Value and derivatives of ``sum_t omega_t log sum_k w_k(t) p_k(y_t)``.

    Attributes
    ----------
    log_likelihood : (T,) one-step-ahead log likelihood of each row
    responsibility : (K, T) derivative of the weighted sum by each slot's log density
    by_bias, by_slope : derivatives by the selector's own parameters
    """

    log_likelihood: Array
    responsibility: Array
    by_bias: Array
    by_slope: Array


@dataclass(frozen=True)
class Selector:
    """Which slot speaks for row t.

    Parameters
    ----------
    memory : bool
        The weights depend on the filtered probabilities of the row before (a Markov chain).
    gate : bool
        The weights depend on the row's features.
    """

    memory: bool
    gate: bool

    def bias_shape(self, n_slots: int) -> tuple[int, int]:
        """Shape of the bias: one row without memory, else one row a slot."""
        return (n_slots if self.memory else 1, n_slots - 1)

    def slope_shape(self, n_slots: int, n_features: int) -> tuple[int, int]:
        """Shape of the slope: (K - 1, F), or no rows without a gate."""
        return (n_slots - 1 if self.gate else 0, n_features)

    def start(self, n_slots: int) -> Array:
        """Bias to start from: equal weights, or chains that stay put (logit 3)."""
        bias = np.zeros(self.bias_shape(n_slots))
        if self.memory:
            bias += 3.0 * (np.eye(n_slots)[:, 1:] - np.eye(n_slots)[:, :1])
        return bias

    def transition(self, bias: Array, slope: Array, features: Array) -> Array:
        """P_t(i, j), as (R, K) when constant over time, else (R, K, T); R rows as in the bias.

        ``features`` is (F, T).
        """
        logits = np.concatenate([np.zeros((len(bias), 1)), bias], axis=1)
        stay = np.exp(logits - logits.max(axis=1, keepdims=True))
        if not self.gate:
            return stay / stay.sum(axis=1, keepdims=True)
        drive = slope @ features
        np.exp(np.clip(drive, -_LOGIT_LIMIT, _LOGIT_LIMIT, out=drive), out=drive)
        probability = np.empty((*stay.shape, features.shape[1]))
        probability[:, 0] = stay[:, :1]
        np.multiply(stay[:, 1:, None], drive, out=probability[:, 1:])
        probability /= probability.sum(axis=1, keepdims=True)
        return probability

    def select(
        self,
        log_density: Array,
        bias: Array,
        slope: Array,
        features: Array,
        row_weights: Array,
        starts: NDArray[np.intp],
    ) -> Selection:
        """Weighted log-likelihood of the mixture and all its derivatives.

        ``log_density`` is (K, T) and ``features`` (F, T); ``starts`` are the first rows of chains,
        each of which begins from equal probabilities.
        """
        n_slots = len(log_density)
        if self.memory and n_slots == 2:
            to_one = self._to_one(bias, slope, features)
            if is_well_scaled(to_one, float(bias[1, 0] - bias[0, 0])):
                pair = two_state_gradient(log_density, to_one, row_weights, starts)
                by_bias = pair.by_logit.sum(axis=1)[:, None]
                by_slope = np.zeros((0, len(features)))
                if self.gate:
                    by_slope = (pair.by_logit.sum(axis=0) @ features.T)[None]
                return Selection(pair.log_likelihood, pair.weights, by_bias, by_slope)
        transition = self.transition(bias, slope, features)
        if not self.memory:
            weights = transition[0].reshape(n_slots, -1)
            posterior, log_likelihood = _posterior(log_density, weights)
            posterior *= row_weights
            by_logit = posterior[1:] - row_weights * weights[1:]
            return Selection(
                log_likelihood,
                posterior,
                by_logit.sum(axis=1)[None],
                by_logit @ features.T if self.gate else np.zeros((0, len(features))),
            )
        initial = np.full(n_slots, 1.0 / n_slots)
        result = forward_filter(log_density, transition, initial, starts)
        smoothed = weighted_smoother(result, row_weights)
        leaving = smoothed.joint.sum(axis=1, keepdims=True)
        by_logit = smoothed.joint[:, 1:] - transition[:, 1:] * leaving
        if not self.gate:
            by_bias, by_slope = by_logit, np.zeros((0, len(features)))
        else:
            by_bias = by_logit.sum(axis=2)
            by_slope = by_logit.sum(axis=0) @ features.T
        return Selection(result.log_likelihood, smoothed.weights, by_bias, by_slope)

    def _to_one(self, bias: Array, slope: Array, features: Array) -> Array:
        """Probabilities (2, T) of moving to slot 1 of two."""
        if not self.gate:
            stay = 1.0 / (1.0 + np.exp(-bias))
            return np.broadcast_to(stay, (2, features.shape[1]))
        drive = -(slope[0] @ features)
        np.exp(np.clip(drive, -_LOGIT_LIMIT, _LOGIT_LIMIT, out=drive), out=drive)
        to_one = np.exp(-bias) * drive
        to_one += 1.0
        return np.divide(1.0, to_one, out=to_one)


def _posterior(log_density: Array, weights: Array) -> tuple[Array, Array]:
    """Posterior slot probabilities (K, T) and log mixture density (T,)."""
    top = log_density.max(axis=0)
    joint = np.exp(log_density - top)
    joint *= weights
    total = joint.sum(axis=0)
    joint /= total
    return joint, np.log(total) + top


SELECTORS: dict[str, Selector] = {
    "static": Selector(memory=False, gate=False),
    "softmax": Selector(memory=False, gate=True),
    "markov": Selector(memory=True, gate=False),
    "sticky": Selector(memory=True, gate=True),
}
