"""Fitting the softmax gate to target probabilities: a multinomial logistic regression."""

from __future__ import annotations

import numpy as np

from regimeslot.solvers.slot_design import Array, Design, log_softmax, softmax

__all__ = ["gate_newton", "mixture"]


def gate_newton(
    design: Design, targets: Array, V: Array, *, iterations: int, ridge: float
) -> Array:
    r"""Newton steps on the gate's logistic likelihood.

    Maximises :math:`\sum_t w_t \sum_k R_{kt} \log \pi_k(x_t) - \lambda |V|^2 / 2` with the last
    slot's scores fixed at zero; each step is halved until the objective rises (iteratively
    reweighted least squares, Jordan and Jacobs 1994).

    Parameters
    ----------
    design
        rows
    targets : (K, n)
        R, the probabilities to be matched
    V : (K, D)
        start; the result is relative to its last row
    iterations
        largest number of steps
    ridge
        lambda, in units of one row's log-likelihood
    """
    V = V - V[-1]
    K, D = V.shape
    if K == 1:
        return V
    Z, w = design.Z, design.weights
    weighted = targets * w

    def loss(V: Array) -> tuple[float, Array]:
        log_pi = log_softmax(V @ Z.T, 0)
        return float(0.5 * ridge * (V**2).sum() - (weighted * log_pi).sum()), log_pi

    value, log_pi = loss(V)
    first, second = np.triu_indices(K - 1)
    for _ in range(iterations):
        pi = np.exp(log_pi)
        gradient = (((targets - pi) * w) @ Z - ridge * V)[:-1]
        curvature = -pi[first] * pi[second]
        curvature[first == second] += pi[:-1]
        blocks = design.grams(curvature)
        H = np.empty((K - 1, D, K - 1, D))
        H[first, :, second, :] = blocks
        H[second, :, first, :] = blocks
        H = H.reshape((K - 1) * D, (K - 1) * D)
        H[np.diag_indices_from(H)] += ridge + 1e-12 * design.total
        step = np.zeros_like(V)
        step[:-1] = np.linalg.solve(H, gradient.ravel()).reshape(K - 1, D)
        length = 1.0
        while length > 1e-3:
            trial, trial_log_pi = loss(V + length * step)
            if trial <= value:
                break
            length *= 0.5
        else:
            break
        gain = value - trial
        V, value, log_pi = V + length * step, trial, trial_log_pi
        if gain <= 1e-10 * abs(value):
            break
    return V


def mixture(design: Design, W: Array, V: Array) -> tuple[Array, Array, Array]:
    """Slot weights (K, n), slot predictions (K, p, n) and the mixed prediction (p, n)."""
    pi = softmax(V @ design.Z.T, 0)
    F = W @ design.Z.T
    return pi, F, np.einsum("kn,kpn->pn", pi, F)
