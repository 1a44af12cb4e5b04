"""The last steps of an estimation: boundaries settled, the exact Hessian, convergence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.layout import ZERO_LOGIT
from regimeslot.markov.objective import Objective
from regimeslot.solvers.batched_bfgs import Optima, maximise

__all__ = ["curved_inverse", "information", "polish"]

Array = NDArray[np.float64]

_FINE = 1e-9  # expected gain at which the last BFGS stops
_CLOSE = 1e-4  # expected gain below which the Hessian before the last steps serves as the last one
_SMALL_LOGIT = -5.0  # a transition rarer than this relative to staying may be at zero
_LEAST_BEND = 1e-5
_FLAT = 1e-3  # smallest curvature the optimiser works with


def information(
    objective: Objective,
    theta: Array,
    gradient: Array,
    series: NDArray[np.intp],
    spread: Array,
    fixed: NDArray[np.bool_],
) -> Array:
    """Minus the Hessian, (S, n, n), by differences of the exact score.

    ``spread`` (S, n) is the rough standard error of each parameter; the step is 1e-4 of it, small
    against the curvature's own change and large against rounding. ``fixed`` parameters are left
    out: their rows and columns are zero.
    """
    size, n_params = theta.shape
    step = np.clip(1e-4 * spread, 1e-7, 1e-4)
    hessian = np.zeros((size, n_params, n_params))
    which, entry = np.nonzero(~fixed)
    for begin in range(0, which.size, objective.n_batch):
        rows, at = (
            which[begin : begin + objective.n_batch],
            entry[begin : begin + objective.n_batch],
        )
        trial = theta[rows]
        trial[np.arange(rows.size), at] += step[rows, at]
        moved = objective.value_and_gradient(trial, series[rows])[1]
        hessian[rows, at] = (gradient[rows] - moved) / step[rows, at, None]
    hessian.transpose(0, 2, 1)[fixed] = 0.0
    return 0.5 * (hessian + hessian.transpose(0, 2, 1))


def curved_inverse(matrix: Array) -> Array:
    """Inverse of symmetric (S, n, n) matrices made positive definite."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(np.abs(values), _FLAT)
    return (vectors / values[:, None]) @ vectors.transpose(0, 2, 1)


def _settle(
    objective: Objective,
    theta: Array,
    value: Array,
    series: NDArray[np.intp],
    tried: NDArray[np.bool_],
) -> tuple[Array, NDArray[np.bool_]]:
    """Send transitions that are heading for zero there; which parameters that fixes.

    ``tried`` (S, n) marks what an earlier call refused, and is brought up to date.

    The log-likelihood approaches such a boundary ever more slowly in the logit, and an optimiser
    would walk for ever. A transition is settled at zero where that is no worse.
    """
    layout, fixed = objective.layout, np.zeros(theta.shape, bool)
    if layout.n_tvtp:
        return theta, fixed
    theta = theta.copy()
    logits = layout.blocks["logits"]
    for entry in range(logits.start, logits.stop):
        low = (theta[:, entry] < _SMALL_LOGIT) & ~tried[:, entry]
        if not low.any():
            continue
        trial = theta.copy()
        trial[:, entry] = ZERO_LOGIT
        moved = objective.value(trial, series)
        settled = low & (moved >= value - 1e-9)
        tried[:, entry] |= low
        theta[settled, entry] = ZERO_LOGIT
        fixed[settled, entry] = True
    return theta, fixed


def _step_rare_moves(
    objective: Objective,
    theta: Array,
    gradient: Array,
    curvature: Array,
    fixed: NDArray[np.bool_],
) -> tuple[Array, Array]:
    """Newton step of rare transitions in their probability; theta and the curvature there.

    In the probability p the log-likelihood is close to a parabola even next to p = 0; in its logit
    x = log p it is not: -l_pp p^2 = -l_xx + l_x.
    """
    if objective.layout.n_tvtp:
        return theta, curvature
    logits = objective.layout.blocks["logits"]
    bend = np.diagonal(curvature, axis1=1, axis2=2) + gradient
    rare = np.zeros(theta.shape, bool)
    rare[:, logits] = theta[:, logits] < _SMALL_LOGIT
    rare &= ~fixed & (bend > _LEAST_BEND)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.where(rare, 1.0 + np.clip(gradient / bend, -0.9, 4.0), 1.0)
    scaled = curvature * growth[:, :, None] * growth[:, None, :]
    row, entry = np.nonzero(rare)
    scaled[row, entry, entry] = bend[rare] * growth[rare] ** 2
    return theta + np.log(growth), scaled


def polish(
    objective: Objective, optima: Optima, rows: NDArray[np.intp], series: NDArray[np.intp]
) -> tuple[Optima, Array]:
    """Finish chosen rows with the exact Hessian.

    A BFGS approximation that starts from the complete data's information is too stiff along flat
    directions and believes itself done too early. The exact Hessian is not fooled. Returns the
    optima and the information at (or next to) them; rows and columns of parameters at a boundary
    are zero.
    """
    theta, gradient, value = optima.theta[rows], optima.gradient[rows], optima.value[rows]
    inverse, series = optima.inverse_hessian[rows], series[rows]
    fixed, tried = np.zeros(theta.shape, bool), np.zeros(theta.shape, bool)
    for _ in range(4):
        theta, settled = _settle(objective, theta, value, series, tried)
        fixed |= settled
        if settled.any():
            value, gradient = objective.value_and_gradient(theta, series)
        spread = np.sqrt(np.abs(np.diagonal(inverse, axis1=1, axis2=2)))
        curvature = information(objective, theta, gradient, series, spread, fixed)
        theta, scaled = _step_rare_moves(objective, theta, gradient, curvature, fixed)
        inverse = curved_inverse(scaled)
        inverse[fixed] = 0.0
        inverse.transpose(0, 2, 1)[fixed] = 0.0
        gain = 0.5 * np.einsum("si,sij,sj->s", gradient, inverse, gradient)
        found = maximise(
            lambda trial, which: objective.value_and_gradient(trial, series[which]),
            theta,
            inverse,
            tolerance=_FINE,
            max_iterations=100,
        )
        theta, gradient, value = found.theta, found.gradient, found.value
        if gain.max() < _CLOSE:
            break
    return found, curvature
