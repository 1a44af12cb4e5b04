r"""From an EM solution to the least cooperative loss :math:`\sum_t |y_t - \sum_k \pi_k f_k|^2`.

EM fits a mixture of densities; SlotWeight predicts with the mixed mean. These steps start from the
EM solution, and a caller keeps each only where the loss on the training rows falls:

- :func:`levenberg_marquardt` on experts and gate together;
- :func:`scale_gate`: multiply the gate by a power of two. A softmax at a large scale is a hard
  gate, so the model class is unchanged;
- :func:`hard_finish`: where rows are almost explained by one slot each, label them, solve each
  slot exactly and separate the labels;
- :func:`tied_gate`: a gate proportional to the experts, which makes the prediction a max-affine or
  min-affine function and needs no gate of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from regimeslot.solvers.slot_design import Array, Design
from regimeslot.solvers.slot_em import SlotState
from regimeslot.solvers.slot_gate import gate_newton, mixture
from regimeslot.solvers.slot_penalty import SlotPenalty

__all__ = [
    "cooperative_loss",
    "hard_finish",
    "levenberg_marquardt",
    "scale_gate",
    "tied_gate",
    "with_cooperative_likelihood",
]

_ROUNDING = 1e-26  # smaller residual variances, relative to the targets', are all the same


def cooperative_loss(design: Design, state: SlotState, penalty: SlotPenalty) -> float:
    """Squared error of the mixed prediction, summed with the row weights, plus the penalty."""
    mixed = mixture(design, state.W, state.V)[2]
    return float(((design.Y.T - mixed) ** 2 @ design.weights).sum() + penalty.value(state.W))


def with_cooperative_likelihood(design: Design, state: SlotState) -> SlotState:
    """The state with the residual variance and likelihood of a Gaussian around the mixed mean."""
    mixed = mixture(design, state.W, state.V)[2]
    variance = (design.Y.T - mixed) ** 2 @ design.weights / design.total
    variance = np.maximum(variance, _ROUNDING)
    log_likelihood = -0.5 * design.total * float((np.log(2 * np.pi * variance) + 1).sum())
    variance = np.tile(variance, (len(state.W), 1))
    return replace(state, variance=variance, log_likelihood=log_likelihood, cooperative=True)


def levenberg_marquardt(
    design: Design,
    state: SlotState,
    penalty: SlotPenalty,
    *,
    iterations: int,
    tolerance: float = 1e-8,
) -> SlotState:
    """Minimise the cooperative loss over experts and gate together.

    The residual's derivative by a coefficient of slot k is ``pi_k z`` (expert) or
    ``pi_k (f_k - f) z`` (gate): a row factor times z. The Gauss-Newton matrix is therefore a stack
    of Gram matrices weighted by products of two row factors.

    Parameters
    ----------
    design
        rows
    state
        start
    penalty
        shrinkage of the experts
    iterations
        largest number of accepted steps
    tolerance
        stop when the loss falls by a smaller share
    """
    K, p, D = state.W.shape
    W, V = state.W, state.V - state.V[-1]
    n_expert = K * p * D
    slots = np.arange(K)
    expert_rows = (slots[:, None] * p * D + np.arange(D)).ravel()
    shrink = penalty.matrix
    damping, floor = 1e-3, 1e-24 * design.total

    def evaluate(W: Array, V: Array) -> tuple[float, Array, Array, Array]:
        pi, F, mixed = mixture(design, W, V)
        error = design.Y.T - mixed
        loss = float((error**2 @ design.weights).sum() + penalty.value(W))
        return loss, pi, F - mixed, error

    loss, pi, gap, error = evaluate(W, V)
    for _ in range(iterations):
        if loss <= floor:
            break
        H = np.zeros((n_expert + (K - 1) * D,) * 2)
        gradient = np.zeros(len(H))
        for o in range(p):
            factors = np.concatenate([pi, (pi * gap[:, o])[:-1]])
            index = np.concatenate([expert_rows + o * D, n_expert + np.arange((K - 1) * D)])
            H[np.ix_(index, index)] += _gauss_newton(design, factors)
            gradient[index] += ((factors * (error[o] * design.weights)) @ design.Z).ravel()
            expert = expert_rows + o * D
            H[np.ix_(expert, expert)] += shrink
            gradient[expert] -= shrink @ W[:, o].ravel()
        diagonal = np.diag(H).copy()
        for _ in range(8):
            A = H.copy()
            A[np.diag_indices_from(A)] += damping * diagonal + 1e-13 * diagonal.max()
            try:
                step = cho_solve(cho_factor(A, overwrite_a=True), gradient)
            except LinAlgError:
                damping *= 6
                continue
            W_new = W + step[:n_expert].reshape(K, p, D)
            V_new = V.copy()
            V_new[:-1] += step[n_expert:].reshape(K - 1, D)
            trial = evaluate(W_new, V_new)
            if trial[0] < loss:
                break
            damping *= 6
        else:
            break
        gain = loss - trial[0]
        W, V = W_new, V_new
        loss, pi, gap, error = trial
        damping = max(damping / 5, 1e-9)
        if gain < tolerance * loss:
            break
    return replace(state, W=W, V=V)


def _gauss_newton(design: Design, factors: Array) -> Array:
    """Blocks ``sum_t w_t c_at c_bt z_t z_t'`` laid out as one matrix, (m D, m D)."""
    m, D = len(factors), design.Z.shape[1]
    first, second = np.triu_indices(m)
    blocks = design.grams(factors[first] * factors[second])
    H = np.empty((m, D, m, D))
    H[first, :, second, :] = blocks
    H[second, :, first, :] = blocks
    return H.reshape(m * D, m * D)


def scale_gate(design: Design, state: SlotState) -> SlotState:
    """Multiply the gate by the power of two (2^0, 2^2, ..., 2^38) that predicts best."""
    F = state.W @ design.Z.T
    U = state.V @ design.Z.T
    U = U - U.max(0)
    best = (np.inf, 1.0)
    for scale in 2.0 ** np.arange(0, 40, 2):
        pi = np.exp(scale * U)
        pi /= pi.sum(0)
        error = design.Y.T - np.einsum("kn,kpn->pn", pi, F)
        best = min(best, (float((error**2 @ design.weights).sum()), scale))
    return replace(state, V=state.V * best[1])


def hard_finish(
    design: Design, state: SlotState, penalty: SlotPenalty, *, rounds: int = 5
) -> SlotState:
    """Label each row by its nearest slot, refit the slots on their rows, separate the labels."""
    W = state.W
    for _ in range(rounds):
        labels = _nearest(design, W)
        owned = np.equal.outer(np.arange(len(W)), labels).astype(float)
        new = _exact_slots(design, W, owned, penalty)
        moved = np.abs(new - W).max()
        W = new
        if moved <= 1e-13:
            break
    owned = np.equal.outer(np.arange(len(W)), _nearest(design, W)).astype(float)
    V = state.V - state.V[-1]
    V = V * (20 / max(float(np.abs(V).max()), 1e-12))
    for ridge in 10.0 ** -np.arange(1, 7):
        V = gate_newton(design, owned, V, iterations=4, ridge=ridge)
    return scale_gate(design, replace(state, W=W, V=V))


def _nearest(design: Design, W: Array) -> Array:
    E = (design.Y.T - W @ design.Z.T) ** 2
    return np.asarray(E.sum(1).argmin(0))


def _exact_slots(design: Design, W: Array, owned: Array, penalty: SlotPenalty) -> Array:
    """Least squares of each slot on its own rows; without a penalty by orthogonal factors."""
    if penalty.pooling.any() or penalty.ridge.any() or penalty.rank is not None:
        return penalty.solve(design.grams(owned), design.cross(owned))
    new = W.copy()
    root = np.sqrt(design.weights)[:, None]
    for k, mask in enumerate(owned.astype(bool)):
        if mask.sum() > W.shape[2]:
            A, B = design.Z[mask] * root[mask], design.Y[mask] * root[mask]
            new[k] = np.linalg.lstsq(A, B, rcond=None)[0].T
    return new


def tied_gate(
    design: Design, state: SlotState, penalty: SlotPenalty, *, rounds: int = 5
) -> list[SlotState]:
    """States whose gate is plus or minus the experts; only for a single output.

    The prediction is then the largest (or smallest) of the slots. Each slot is refitted on the rows
    where it is the largest, for a few rounds; both the first and the last of them are returned,
    unless a slot is left with fewer rows than coefficients.
    """
    if state.W.shape[1] != 1:
        return []
    tied = []
    for sign in (1.0, -1.0):
        W = state.W
        for done in range(rounds + 1):
            labels = (sign * (W[:, 0] @ design.Z.T)).argmax(0)
            owned = np.equal.outer(np.arange(len(W)), labels).astype(float)
            if owned.sum(1).min() < W.shape[2]:
                break
            if done in (0, rounds):
                tied.append(_tie(design, state, W, sign))
            W = _exact_slots(design, W, owned, penalty)
    return tied


def _tie(design: Design, state: SlotState, W: Array, sign: float) -> SlotState:
    return scale_gate(design, replace(state, W=W, V=sign * (W[:, 0] - W[-1, 0])))
