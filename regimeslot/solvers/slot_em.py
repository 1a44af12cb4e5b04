"""Expectation-maximisation for softmax-gated linear experts.

The model is a mixture of experts (Jacobs, Jordan, Nowlan and Hinton 1991)

    p(y | x) = sum_k pi_k(x) N(y; W_k z, sigma_k^2),   pi(x) = softmax(V z),   z = (x, 1).

:func:`multi_start_em` runs many starts at once with a cheap gate step (Boehning's bound);
:func:`refine_em` continues one of them with a Newton gate on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from regimeslot.solvers.slot_design import Array, Design, log_softmax, softmax
from regimeslot.solvers.slot_gate import gate_newton, mixture
from regimeslot.solvers.slot_penalty import SlotPenalty

__all__ = ["SlotState", "log_density", "multi_start_em", "refine_em", "responsibilities"]

_GATE_RIDGE = 1e-8  # per unit of row weight; keeps a separable gate finite
_VARIANCE_FLOOR = 1e-18  # relative to the targets' variance, which is one


@dataclass(frozen=True)
class SlotState:
    """Parameters of a slot regression in standardised units.

    Attributes
    ----------
    W : (K, p, D)
        experts, intercept last
    V : (K, D)
        gate, intercept last, last row zero
    variance : (K, p)
        residual variance of each slot and output
    log_likelihood
        of the mixture, summed over rows with their weights
    iterations
        EM iterations made so far
    cooperative
        the density is one Gaussian around the mixed mean instead of a mixture
    restarts
        slots that died and were started again
    """

    W: Array
    V: Array
    variance: Array
    log_likelihood: float = -np.inf
    iterations: int = 0
    cooperative: bool = False
    restarts: int = 0


def multi_start_em(
    design: Design,
    n_slots: int,
    *,
    n_starts: int,
    iterations: int,
    ridge: Array,
    rng: np.random.Generator,
) -> list[SlotState]:
    """Run many EM starts at once; the states come back best first, by residual variance.

    Each start draws the experts around the pooled regression. The temperature falls from 2 to 1
    over the first eight iterations and the gate stays flat for five, so that experts settle on
    different rows before the gate is asked to tell the rows apart. All slots share one variance per
    output here: with separate variances a start can collapse on a few rows.

    Parameters
    ----------
    design
        rows, usually a subsample
    n_slots, n_starts, iterations
        sizes
    ridge : (D,)
        penalty on each coefficient, in squared error of one row
    rng
        source of the starts
    """
    Z, Y, w = design.Z, design.Y, design.weights
    n, D = Z.shape
    R, K, p = n_starts, n_slots, Y.shape[1]
    jitter = 1e-8 * design.total
    # Boehning's bound: 2 (Z'WZ)^-1 majorises the inverse Hessian of the centred gate scores.
    bound = 2 * np.linalg.solve((Z * w[:, None]).T @ Z + jitter * np.eye(D), (Z * w[:, None]).T).T
    pooled = design.ordinary(ridge + jitter)
    spread = np.sqrt((w @ (Y - Z @ pooled.T) ** 2) / design.total)
    W = pooled + rng.standard_normal((R, K, p, D)) * (spread[:, None] / np.sqrt(D))
    W[..., -1] = pooled[:, -1] + 0.3 * (W[..., -1] - pooled[:, -1])
    V = np.zeros((R, K, D))
    variance = np.tile(np.maximum(spread**2, _VARIANCE_FLOOR), (R, 1))
    regular = np.diag(np.maximum(ridge, 10 * jitter))
    for iteration in range(iterations):
        temperature = 1 + max(0.0, 1 - iteration / 8)
        scores = (V @ Z.T) - _scaled_errors(Z, Y, W, variance) / (2 * temperature)
        resp = softmax(scores, 1)
        if iteration >= 5 or iteration == iterations - 1:
            for _ in range(2):
                V += (resp - softmax(V @ Z.T, 1)) @ bound
        flat = resp.reshape(R * K, n)
        grams = design.grams(flat).reshape(R, K, 1, D, D) + regular
        W = np.linalg.solve(grams, design.cross(flat).reshape(R, K, p, D)[..., None])[..., 0]
        residual = (Y.T - W @ Z.T) ** 2
        variance = np.einsum("rkn,rkpn,n->rp", resp, residual, w) / design.total
        variance = np.maximum(variance, _VARIANCE_FLOOR)
    order = np.argsort(np.log(variance).sum(1), kind="stable")
    return [
        SlotState(W[r], V[r] - V[r, -1], np.tile(variance[r], (K, 1)), iterations=iterations)
        for r in order
    ]


def _scaled_errors(Z: Array, Y: Array, W: Array, variance: Array) -> Array:
    """Squared errors over variance, summed over outputs: (R, K, n)."""
    E = Y.T - W @ Z.T
    E *= E
    if E.shape[2] == 1:
        return np.asarray(E[:, :, 0] / variance[:, None, :1])
    return np.asarray(np.einsum("rkpn,rp->rkn", E, 1 / variance))


def responsibilities(design: Design, state: SlotState) -> tuple[Array, Array]:
    """P(slot | x, y) of each row, (K, n), and the row's log density, (n,)."""
    E = (design.Y.T - state.W @ design.Z.T) ** 2
    log_density = -0.5 * (
        np.einsum("kpn,kp->kn", E, 1 / state.variance)
        + np.log(2 * np.pi * state.variance).sum(1)[:, None]
    )
    joint = log_softmax(state.V @ design.Z.T, 0) + log_density
    top = joint.max(0)
    total = top + np.log(np.exp(joint - top).sum(0))
    return np.exp(joint - total), total


def log_density(design: Design, state: SlotState) -> Array:
    """Log density of each row under the state's own law, (n,)."""
    if not state.cooperative:
        return responsibilities(design, state)[1]
    mixed = mixture(design, state.W, state.V)[2]
    variance = state.variance[0][:, None]
    return -0.5 * ((design.Y.T - mixed) ** 2 / variance + np.log(2 * np.pi * variance)).sum(0)


def refine_em(
    design: Design,
    state: SlotState,
    *,
    iterations: int,
    penalty: SlotPenalty,
    shared_variance: bool,
    variance_floor: float = _VARIANCE_FLOOR,
    prior_rows: float = 0.0,
    tolerance: float = 1e-9,
) -> SlotState:
    r"""Continue EM from one state, with one Newton step on the gate per iteration.

    Parameters
    ----------
    design
        rows
    state
        start
    iterations
        largest number of iterations
    penalty
        ridge and pooling of the experts, in squared error
    shared_variance
        one variance per output for all slots (the criterion then stays bounded), or one per slot
    variance_floor
        no variance falls below it
    prior_rows
        :math:`\nu`: each slot's variance is
        :math:`(\sum r e^2 + \nu s_0^2) / (\sum r + \nu)` with s0 the pooled residual variance
    tolerance
        stop when the log-likelihood per unit of weight moves by less
    """
    Z, Y, w = design.Z, design.Y, design.weights
    previous = -np.inf
    prior_variance = state.variance.mean(0)
    for _ in range(iterations):
        resp, densities = responsibilities(design, state)
        value = float(w @ densities)
        if abs(value - previous) <= tolerance * design.total:
            break
        previous = value
        W = penalty.solve(design.grams(resp), design.cross(resp))
        E = (Y.T - W @ Z.T) ** 2
        sums = np.einsum("kn,kpn,n->kp", resp, E, w)
        if shared_variance:
            variance = np.tile(sums.sum(0) / design.total, (len(W), 1))
        else:
            mass = (resp @ w)[:, None]
            variance = (sums + prior_rows * prior_variance) / (mass + prior_rows)
        variance = np.maximum(variance, variance_floor)
        V = gate_newton(design, resp, state.V, iterations=1, ridge=_GATE_RIDGE * design.total)
        state = replace(
            state,
            W=W,
            V=V,
            variance=variance,
            log_likelihood=value,
            iterations=state.iterations + 1,
            cooperative=False,
        )
    value = float(w @ responsibilities(design, state)[1])
    return replace(state, log_likelihood=value, cooperative=False)
