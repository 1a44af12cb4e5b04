"""BFGS for many independent problems at once: one evaluation serves all that are still moving.

Each problem keeps its own inverse Hessian and its own step. Those that have converged, or whose
value has met that of a better problem at the same point, leave the batch, so the last evaluations
are paid for by the problems that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Optima", "maximise"]

Array = NDArray[np.float64]
Objective = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]

_ARMIJO = 1e-4
_LONGEST_STEP = 3.0  # largest change of one parameter in one iteration
_SHORTEST = 1e-13  # a step that promises less than this share of the value is lost in rounding
_HOPE = 10.0  # a start may still gain this many times what its quadratic model promises
_BEHIND = 0.2  # and is retired when that leaves it so far below the best of its group
_CLOSE = 0.2  # expected gain below which a start's end is known well enough to compare
_WINDOW = 6  # iterations whose gain together says whether a problem still makes progress
_SAME = 1e-3  # two ends of one group nearer than this (and a share of the gain) are one optimum


@dataclass(frozen=True)
class Optima:
    """Where the problems ended.

    Attributes
    ----------
    theta : (S, n)
    value : (S,)
    gradient : (S, n)
    inverse_hessian : (S, n, n)
        Of minus the objective.
    gain : (S,)
        Expected further gain: half g'Hg, or what the last iterations gained where ``flat``.
    flat : (S,) bool
        Left because the last iterations gained next to nothing, see :func:`maximise`.
    retired : (S,) bool
        Left the batch early, see :func:`maximise`.
    evaluations : int
        Calls of the objective.
    """

    theta: Array
    value: Array
    gradient: Array
    inverse_hessian: Array
    gain: Array
    flat: NDArray[np.bool_]
    retired: NDArray[np.bool_]
    evaluations: int


def _inverse_update(inverse: Array, step: Array, change: Array) -> None:
    """BFGS update in place where the curvature is positive."""
    curvature = (step * change).sum(axis=1)
    scale = np.sqrt((step**2).sum(axis=1) * (change**2).sum(axis=1))
    good = curvature > 1e-12 * scale
    if not good.any():
        return
    s, y, rho = step[good], change[good], 1.0 / curvature[good]
    turned = np.matmul(inverse[good], y[..., None])[..., 0]
    factor = (1.0 + (y * turned).sum(axis=1) * rho) * rho
    cross = rho[:, None, None] * turned[:, :, None] * s[:, None, :]
    outer = factor[:, None, None] * s[:, :, None] * s[:, None, :]
    inverse[good] += outer - cross - cross.transpose(0, 2, 1)


def _retire(
    value: Array,
    gain: Array,
    active: NDArray[np.bool_],
    retired: NDArray[np.bool_],
    groups: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Active problems that another one of their group makes superfluous."""
    superfluous = np.zeros(value.size, bool)
    for group in np.unique(groups[active]):
        members = np.flatnonzero((groups == group) & np.isfinite(gain) & ~retired)
        if members.size < 2:
            continue
        best = value[members].max()
        hopeless = value[members] + _HOPE * gain[members] < best - _BEHIND
        superfluous[members[hopeless]] = True
        near = members[(gain[members] < _CLOSE) & ~hopeless]
        near = near[np.argsort(gain[near])]
        ends = value[near] + gain[near]
        for number in range(1, near.size):
            apart = np.abs(ends[:number] - ends[number])
            if np.any(apart < _SAME + 0.05 * gain[near[number]]):
                superfluous[near[number]] = True
    return superfluous & active


def maximise(
    objective: Objective,
    theta: Array,
    inverse_hessian: Array,
    *,
    groups: NDArray[np.intp] | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 200,
    least_progress: float = 0.0,
) -> Optima:
    """Maximise S problems of n parameters.

    Parameters
    ----------
    objective : callable
        ``objective(theta (s, n), rows (s,)) -> value (s,), gradient (s, n)``; ``rows`` are the
        numbers of the problems asked about. A value that is not finite is a step too far.
    theta : (S, n)
        Starts.
    inverse_hessian : (S, n, n)
        Positive definite guess of the inverse of minus the Hessian.
    groups : (S,) int, optional
        Problems of one group are starts of the same problem: one that is about to end where
        another one ends, or clearly lower than another one already is, is retired.
    tolerance : float
        A problem has converged when half g'Hg falls below it (in units of the objective).
    max_iterations : int
    least_progress : float
        A problem whose last few iterations together gained less than this is flat: it walks
        towards an optimum that is infinitely far, or along a ridge, and leaves the batch.

    Returns
    -------
    Optima

    References
    ----------
    Nocedal and Wright (2006), Numerical Optimization, chapter 6.

    Examples
    --------
    >>> import numpy as np
    >>> bowl = lambda x, rows: (-((x - 1.0) ** 2).sum(axis=1), -2.0 * (x - 1.0))
    >>> maximise(bowl, np.zeros((1, 2)), np.eye(2)[None]).theta.round(6)
    array([[1., 1.]])
    """
    theta, inverse = theta.copy(), inverse_hessian.copy()
    size, n_params = theta.shape
    value, gradient = objective(theta, np.arange(size))
    value, gradient = value.copy(), gradient.copy()
    evaluations, gain = 1, np.full(size, np.inf)
    active = np.isfinite(value)
    retired, flat = np.zeros(size, bool), np.zeros(size, bool)
    history = np.full((_WINDOW, size), -np.inf)
    for iteration in range(max_iterations):
        rows = np.flatnonzero(active)
        if rows.size == 0:
            break
        direction = np.matmul(inverse[rows], gradient[rows, :, None])[..., 0]
        slope = (direction * gradient[rows]).sum(axis=1)
        lost = ~(slope > 0)
        if lost.any():  # rounding made the inverse Hessian indefinite: start it anew
            scale = np.maximum(np.abs(gradient[rows[lost]]).max(axis=1), 1e-8)
            free = np.diagonal(inverse[rows[lost]], axis1=1, axis2=2) != 0
            anew = free / scale[:, None]
            inverse[rows[lost]] = anew[:, :, None] * np.eye(n_params)
            direction[lost] = gradient[rows[lost]] * anew
            slope[lost] = (direction[lost] * gradient[rows[lost]]).sum(axis=1)
        gain[rows] = 0.5 * slope
        done = gain[rows] < tolerance
        progress = value[rows] - history[iteration % _WINDOW, rows]
        history[iteration % _WINDOW, rows] = value[rows]
        slow = ~done & (progress < least_progress)
        flat[rows[slow]] = True
        gain[rows[slow]] = progress[slow]
        active[rows[done | slow]] = False
        if groups is not None:
            leaving = _retire(value, gain, active, retired, groups)
            retired |= leaving
            active &= ~leaving
        left = active[rows]
        rows, direction, slope = rows[left], direction[left], slope[left]
        if rows.size == 0:
            break
        step = np.minimum(1.0, _LONGEST_STEP / np.abs(direction).max(axis=1))
        open_, trial = np.arange(rows.size), theta[rows].copy()
        new_value, new_gradient = value[rows].copy(), gradient[rows].copy()
        while open_.size:
            trial[open_] = theta[rows[open_]] + step[open_, None] * direction[open_]
            found, slopes = objective(trial[open_], rows[open_])
            evaluations += 1
            target = value[rows[open_]] + _ARMIJO * step[open_] * slope[open_]
            ok = np.isfinite(found) & (found >= target)
            new_value[open_[ok]], new_gradient[open_[ok]] = found[ok], slopes[ok]
            open_, found = open_[~ok], found[~ok]
            if open_.size == 0:
                break
            with np.errstate(divide="ignore", invalid="ignore"):
                linear = step[open_] * slope[open_]
                vertex = step[open_] * linear / (2 * (value[rows[open_]] + linear - found))
            vertex = np.where(np.isfinite(vertex), vertex, 0.1 * step[open_])
            step[open_] = np.clip(vertex, 0.1 * step[open_], 0.5 * step[open_])
            stuck = step[open_] * slope[open_] < _SHORTEST * np.maximum(
                1.0, np.abs(value[rows[open_]])
            )
            if stuck.any():
                trial[open_[stuck]] = theta[rows[open_[stuck]]]
                active[rows[open_[stuck]]] = False
                open_ = open_[~stuck]
        moved = trial - theta[rows]
        updated = inverse[rows]
        _inverse_update(updated, moved, gradient[rows] - new_gradient)
        inverse[rows] = updated
        theta[rows], value[rows], gradient[rows] = trial, new_value, new_gradient
    return Optima(theta, value, gradient, inverse, gain, flat, retired, evaluations)
