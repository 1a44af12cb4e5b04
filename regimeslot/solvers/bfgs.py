"""Dense BFGS for small smooth problems, with an inverse Hessian that the caller may carry over.

Refits on a slightly longer sample start next to their optimum. A dense inverse Hessian from the
refit before makes the first step a near-Newton step, which a limited-memory method that forgets
its curvature cannot do: it takes about a tenth of the evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.solvers.memory import keep_freed_memory

__all__ = ["Minimum", "minimize_bfgs"]

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]

_ARMIJO = 1e-4
_LARGEST_STEP = 2.0  # in any one parameter; parameters here are logits and log-scales
_SMALLEST_STEP = 1e-10


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation stopped.

    Attributes
    ----------
    x : (n,) the point, ``fun`` its value
    inverse_hessian : (n, n) the BFGS approximation, a warm start for the next fit
    n_evaluations : number of calls of the objective
    converged : whether the predicted decrease fell below the tolerance
    """

    x: Array
    fun: float
    inverse_hessian: Array
    n_evaluations: int
    converged: bool


def minimize_bfgs(
    objective: Objective,
    x: Array,
    inverse_hessian: Array,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 300,
) -> Minimum:
    """Minimise a smooth function by dense BFGS with Armijo backtracking.

    Stops when half the Newton decrement, ``g' H g / 2``, the decrease that the quadratic model
    still promises, is at most ``tolerance * |f|``.

    Parameters
    ----------
    objective : callable
        ``x -> (value, gradient)``; a value that is not finite shortens the step.
    x : (n,)
        Start.
    inverse_hessian : (n, n)
        Positive definite start of the inverse Hessian.
    tolerance, max_iterations
        Stopping rule.

    Returns
    -------
    Minimum

    Examples
    --------
    >>> import numpy as np
    >>> def bowl(x):
    ...     return float(x @ x), 2 * x
    >>> minimize_bfgs(bowl, np.ones(2), np.eye(2)).x.round(6)
    array([0., 0.])
    """
    keep_freed_memory()
    value, gradient = objective(x)
    n_evaluations = 1
    metric = inverse_hessian
    for _ in range(max_iterations):
        step = -(metric @ gradient)
        slope = float(gradient @ step)
        if slope >= 0.0:  # rounding made the metric indefinite: restart from its diagonal
            metric = np.diag(1.0 / np.maximum(np.abs(np.diag(metric)), 1e-8))
            step = -gradient / max(float(np.linalg.norm(gradient)), 1e-300)
            slope = float(gradient @ step)
        if -0.5 * slope <= tolerance * abs(value):
            return Minimum(x, value, metric, n_evaluations, True)
        length = min(1.0, _LARGEST_STEP / float(np.abs(step).max()))
        while True:
            candidate = x + length * step
            new_value, new_gradient = objective(candidate)
            n_evaluations += 1
            if math.isfinite(new_value) and new_value <= value + _ARMIJO * length * slope:
                break
            length = _shorter(length, slope, new_value - value)
            if length < _SMALLEST_STEP:
                return Minimum(x, value, metric, n_evaluations, False)
        metric = _updated(metric, candidate - x, new_gradient - gradient)
        x, value, gradient = candidate, new_value, new_gradient
    return Minimum(x, value, metric, n_evaluations, False)


def _shorter(length: float, slope: float, increase: float) -> float:
    """Minimum of the parabola through what is known, kept within a tenth and a half."""
    if not math.isfinite(increase):
        return 0.1 * length
    parabola = -slope * length * length / (2.0 * (increase - slope * length))
    return min(max(parabola, 0.1 * length), 0.5 * length)


def _updated(metric: Array, move: Array, change: Array) -> Array:
    """BFGS update of the inverse Hessian; skipped where the curvature is not positive."""
    curvature = float(move @ change)
    if curvature <= 1e-10 * float(np.linalg.norm(move) * np.linalg.norm(change)):
        return metric
    product = metric @ change
    rate = 1.0 / curvature
    cross = np.outer(product, move)
    cross += cross.T.copy()
    return (
        metric
        + np.outer(move, move) * ((1.0 + rate * float(change @ product)) * rate)
        - (cross * rate)
    )
