"""Slots whose deviations from a shared base live in few directions."""

from __future__ import annotations

import numpy as np

from regimeslot.solvers.slot_design import Array

__all__ = ["low_rank_slots"]


def low_rank_slots(grams: Array, cross: Array, rank: int, *, sweeps: int = 10) -> Array:
    r"""Least squares of slots :math:`W_k = W_0 + B_k A` with A of ``rank`` rows.

    Alternates between (W_0, B) given A and (W_0, A) given B, both exact, from the leading
    directions of the unrestricted slots; rank 0 is one pooled regression.

    Parameters
    ----------
    grams : (K, D, D)
        ``Z' R_k Z``, positive definite
    cross : (K, p, D)
        ``Y' R_k Z``
    rank
        number of shared directions
    sweeps
        alternations
    """
    K, p, D = cross.shape
    base = np.linalg.solve(grams.sum(0), cross.sum(0).T).T
    if rank == 0:
        return np.tile(base, (K, 1, 1))
    free = np.linalg.solve(grams, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
    A = np.linalg.svd((free - free.mean(0)).reshape(K * p, D), full_matrices=False)[2][:rank]
    for _ in range(sweeps):
        base, B = _given_directions(grams, cross, A)
        base, A = _given_loadings(grams, cross, B)
        A = np.linalg.qr(A.T)[0].T
    base, B = _given_directions(grams, cross, A)
    return np.asarray(base + B @ A)


def _given_directions(grams: Array, cross: Array, A: Array) -> tuple[Array, Array]:
    """Base (p, D) and loadings (K, p, r) given the directions A (r, D)."""
    K, p, D = cross.shape
    r = len(A)
    H = np.zeros((D + K * r, D + K * r))
    H[:D, :D] = grams.sum(0)
    right = np.zeros((D + K * r, p))
    right[:D] = cross.sum(0).T
    for k in range(K):
        own = slice(D + k * r, D + (k + 1) * r)
        H[:D, own] = grams[k] @ A.T
        H[own, :D] = H[:D, own].T
        H[own, own] = A @ grams[k] @ A.T
        right[own] = A @ cross[k].T
    # Base and loadings share r directions; the shortest solution is as good as any.
    solution = np.linalg.lstsq(H, right, rcond=1e-12)[0]
    return solution[:D].T, solution[D:].reshape(K, r, p).transpose(0, 2, 1)


def _given_loadings(grams: Array, cross: Array, B: Array) -> tuple[Array, Array]:
    """Base (p, D) and directions (r, D) given the loadings B (K, p, r)."""
    p, D = cross.shape[1:]
    r = B.shape[2]
    design = np.concatenate([np.broadcast_to(np.eye(p), (len(B), p, p)), B], axis=2)
    H = np.einsum("koa,kob,kij->aibj", design, design, grams).reshape((p + r) * D, (p + r) * D)
    right = np.einsum("koa,kod->ad", design, cross).ravel()
    solution = np.linalg.lstsq(H, right, rcond=1e-12)[0].reshape(p + r, D)
    return solution[:p], solution[p:]
