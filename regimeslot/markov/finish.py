"""The last steps of an estimation: boundaries settled, the exact Hessian, convergence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.layout import (
    DOF_CEILING,
    DOF_FLOOR,
    FAR,
    VARIANCE_FLOOR,
    ZERO_LOGIT,
    Layout,
    dof_from_raw,
    raw_from_dof,
)
from regimeslot.markov.objective import Objective
from regimeslot.solvers.batched_bfgs import maximise

__all__ = ["LEFT_TO_GAIN", "Finished", "at_boundary", "curved_inverse", "information", "polish"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEFT_TO_GAIN = 1e-3  # log-likelihood that a converged fit may still be short of
_FINE = 1e-9  # expected gain at which the last BFGS stops
_COARSE = 1e-6  # and the one before it
_FLAT = 1e-4  # gain of several iterations together below which BFGS has nothing to do any more
_CLOSE = 1e-4  # expected gain below which the Hessian before the last steps serves as the last one
_SMALL_LOGIT = -5.0  # a transition rarer than this relative to staying may be at zero
_MANY_DOF = 60.0  # more degrees of freedom than this may be the ceiling,
_FEW_DOF = 2.15  # and fewer the floor
_SMALL_VARIANCE = 5.0  # in units of its floor
_WORTH_RELEASING = 1e-2  # gain that leaving a bound must promise
_WAYS_BACK = (0.0, 1.0, 2.0)  # how far outside of where a bound is near it is tried again
_ROUNDS = 5
_NO_WORSE = 1e-6  # log-likelihood that a bound may cost
_LEAST_BEND = 1e-5
_LEAST_CURVATURE = 1e-3  # the optimiser's smallest


def information(
    objective: Objective,
    theta: Array,
    gradient: Array,
    series: NDArray[np.intp],
    spread: Array,
    fixed: Flags,
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


def curved_inverse(matrix: Array, fixed: Flags) -> Array:
    """Inverse of symmetric (S, n, n) matrices made positive definite; zero where ``fixed``."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(np.abs(values), _LEAST_CURVATURE)
    inverse = (vectors / values[:, None]) @ vectors.transpose(0, 2, 1)
    inverse[fixed] = 0.0
    inverse.transpose(0, 2, 1)[fixed] = 0.0
    return inverse


# -- boundaries ---------------------------------------------------------------------------------


def _bounds(layout: Layout) -> dict[str, tuple[tuple[float, float], ...]]:
    """By block of parameters: (where a bound begins to be near, where it is), signed by side."""
    shift = float(raw_from_dof(0.5 * (DOF_FLOOR + DOF_CEILING)))
    bounds: dict[str, tuple[tuple[float, float], ...]] = {}
    if not layout.n_tvtp:
        bounds["logits"] = ((_SMALL_LOGIT, ZERO_LOGIT),)
    if layout.switching_variance:
        floor = float(np.log(VARIANCE_FLOOR))
        bounds["variance"] = ((floor + np.log(_SMALL_VARIANCE - 1.0), floor - FAR),)
    if layout.student:
        bounds["dof"] = (
            (float(raw_from_dof(_FEW_DOF)), -FAR),
            (float(raw_from_dof(_MANY_DOF)), shift + FAR),
        )
    return bounds


def _beyond(values: Array, near: float, bound: float) -> Flags:
    """Whether values are on the bound's side of ``near``."""
    return values < near if bound < near else values > near


def at_boundary(layout: Layout, theta: Array) -> Flags:
    """Which of the optimiser's parameters (..., n) are settled at a bound.

    These are transitions at zero, degrees of freedom at their ceiling (a Gaussian regime) or their
    floor, and variances at their floor.
    """
    fixed = np.zeros(theta.shape, bool)
    for name, bounds in _bounds(layout).items():
        block = layout.blocks[name]
        for near, bound in bounds:
            edge = near + 0.9 * (bound - near)
            fixed[..., block] |= _beyond(theta[..., block], edge, bound)
    return fixed


def inside(layout: Layout, theta: Array) -> Array:
    """``theta`` (S, n) with what is at a bound brought back to where the bound begins to be near.

    A parameter at its bound has no slope: a refit that started there could never leave it.
    """
    theta = theta.copy()
    for name, bounds in _bounds(layout).items():
        block = layout.blocks[name]
        for near, bound in bounds:
            step = 0.1 * (bound - near)
            limit = near + step
            side = np.maximum if step < 0 else np.minimum
            theta[:, block] = side(theta[:, block], limit)
    return theta


def _keep_variance(layout: Layout, theta: Array, entry: int, before: Array) -> None:
    """Keep each regime's variance (not its squared scale) where its degrees of freedom moved."""
    blocks = layout.blocks
    old, new = dof_from_raw(before), dof_from_raw(theta[:, entry])
    factor = np.log(old / (old - 2.0) * (new - 2.0) / new)[:, None]
    at = blocks["variance"]
    if layout.switching_variance and layout.switching_dof:
        number = at.start + entry - blocks["dof"].start
        theta[:, number : number + 1] += factor
    else:
        theta[:, at] += factor


def _settle(
    objective: Objective,
    theta: Array,
    value: Array,
    series: NDArray[np.intp],
    tried: Flags,
) -> tuple[Array, Flags]:
    """Send parameters that are heading for a bound there; which parameters that fixes.

    ``tried`` (S, n) marks what an earlier call refused, and is brought up to date.

    The log-likelihood approaches such a bound ever more slowly, and an optimiser would walk for
    ever. A parameter is settled at its bound where that is no worse.
    """
    layout = objective.layout
    theta, value, fixed = theta.copy(), value.copy(), np.zeros(theta.shape, bool)
    for name, bounds in _bounds(layout).items():
        block = layout.blocks[name]
        for entry in range(block.start, block.stop):
            for near, bound in bounds:
                low = _beyond(theta[:, entry], near, bound) & ~tried[:, entry]
                if not low.any():
                    continue
                trial = theta.copy()
                trial[:, entry] = bound
                if name == "dof" and bound > 0:
                    _keep_variance(layout, trial, entry, theta[:, entry])
                moved = objective.value(trial, series)
                settled = low & (moved >= value - _NO_WORSE)
                tried[:, entry] |= low
                theta[settled], value[settled] = trial[settled], moved[settled]
                fixed[settled, entry] = True
    return theta, fixed


def _release(
    objective: Objective,
    theta: Array,
    value: Array,
    gradient: Array,
    series: NDArray[np.intp],
    fixed: Flags,
) -> tuple[Array, Flags]:
    """Take parameters off a bound where the slope at the bound says that it was the wrong end.

    A raw parameter x is the logarithm of the distance u from its bound, so ``dl/du = (dl/dx) / u``,
    and the way back to where the bound is near would gain ``(dl/dx) exp(way)`` were it straight.
    """
    layout = objective.layout
    theta, value, released = theta.copy(), value.copy(), np.zeros(theta.shape, bool)
    for name, bounds in _bounds(layout).items():
        block = layout.blocks[name]
        for entry in range(block.start, block.stop):
            for near, bound in bounds:
                held = fixed[:, entry] & (theta[:, entry] == bound)
                inwards = gradient[:, entry] * np.sign(near - bound)
                held &= inwards * np.exp(abs(near - bound)) > _WORTH_RELEASING
                for way in _WAYS_BACK:
                    if not held.any():
                        break
                    trial = theta.copy()
                    trial[:, entry] = near + way * np.sign(bound - near)
                    if name == "dof" and bound > 0:
                        _keep_variance(layout, trial, entry, theta[:, entry])
                    moved = objective.value(trial, series)
                    better = held & (moved > value)
                    theta[better], value[better] = trial[better], moved[better]
                    released[better, entry] = True
                    held &= ~better
    return theta, released


def _step_rare_moves(
    objective: Objective,
    theta: Array,
    gradient: Array,
    curvature: Array,
    fixed: Flags,
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


# -- the last steps -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """Where the last steps ended, for S starts.

    Attributes
    ----------
    theta : (S, n)
    value, gain : (S,)
        The objective, and what may be left to gain.
    flat : (S,) bool
        Stopped because the last iterations gained next to nothing, not at a maximum.
    information : (S, n, n)
        At (or next to) ``theta``; rows and columns of parameters at a bound are zero.
    """

    theta: Array
    value: Array
    gain: Array
    flat: Flags
    information: Array


def polish(
    objective: Objective,
    theta: Array,
    value: Array,
    gradient: Array,
    inverse: Array,
    series: NDArray[np.intp],
) -> Finished:
    """Finish starts with the exact Hessian.

    A BFGS approximation that starts from the complete data's information is too stiff along flat
    directions and believes itself done too early. The exact Hessian is not fooled. ``inverse`` is
    that approximation; only its diagonal is used, for the differences' steps.
    """
    fixed, tried = np.zeros(theta.shape, bool), np.zeros(theta.shape, bool)
    for _ in range(_ROUNDS):
        theta, settled = _settle(objective, theta, value, series, tried)
        fixed |= settled
        if settled.any():
            value, gradient = objective.value_and_gradient(theta, series)
        spread = np.sqrt(np.abs(np.diagonal(inverse, axis1=1, axis2=2)))
        curvature = information(objective, theta, gradient, series, spread, fixed)
        theta, scaled = _step_rare_moves(objective, theta, gradient, curvature, fixed)
        inverse = curved_inverse(scaled, fixed)
        gain = 0.5 * np.einsum("si,sij,sj->s", gradient, inverse, gradient)
        before = value
        found = maximise(
            lambda trial, which: objective.value_and_gradient(trial, series[which]),
            theta,
            inverse,
            tolerance=_FINE if gain.max() < _CLOSE else _COARSE,  # another round will follow
            max_iterations=100,
            least_progress=_FLAT,
        )
        theta, gradient, value = found.theta, found.gradient, found.value
        if gain.max() < _CLOSE or (found.flat.all() and (value - before).max() < LEFT_TO_GAIN):
            theta, released = _release(objective, theta, value, gradient, series, fixed)
            if not released.any():
                break
            fixed &= ~released
            value, gradient = objective.value_and_gradient(theta, series)
    return Finished(theta, value, found.gain, found.flat, curvature)
