"""Standard errors from the observed information.

The Hessian of the optimiser's parameters comes from differences of the exact score; the delta
method carries it to the parameters that are reported. Transitions on the boundary are held where
they are, so the errors of the others are conditional on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.finish import at_boundary, information
from regimeslot.markov.layout import Layout
from regimeslot.markov.natural import Scaling, parameter_names, to_natural, to_vector
from regimeslot.markov.objective import Objective

__all__ = ["natural_covariance", "observed_information"]

Array = NDArray[np.float64]

_ZERO = 1e-9  # a transition probability below it is on the boundary


def observed_information(objective: Objective, theta: Array) -> Array:
    """Minus the Hessian of the objective at ``theta``, (n, n); zero rows for fixed parameters."""
    series = np.zeros(1, np.intp)
    fixed = at_boundary(objective.layout, theta)[None]
    _, gradient = objective.value_and_gradient(theta[None], series)
    spread = np.full((1, theta.size), 0.1)
    first = information(objective, theta[None], gradient, series, spread, fixed)
    size = np.abs(np.diagonal(first, axis1=1, axis2=2))
    spread = 1.0 / np.sqrt(np.maximum(size, 1e-2))
    return information(objective, theta[None], gradient, series, spread, fixed)[0]


def natural_covariance(layout: Layout, scaling: Scaling, theta: Array, curvature: Array) -> Array:
    """Covariance of the reported parameters, in their order; NaN at a bound."""
    free = np.diagonal(curvature) != 0
    inverse = np.zeros_like(curvature)
    inner = curvature[np.ix_(free, free)]
    if inner.size and np.linalg.matrix_rank(inner) == len(inner):
        inverse[np.ix_(free, free)] = np.linalg.inv(inner)
    else:
        inverse[np.ix_(free, free)] = np.linalg.pinv(inner, hermitian=True)
    step = 1e-5 * np.maximum(1.0, np.abs(theta))
    trial = theta + np.concatenate([np.diag(step), -np.diag(step)])
    found = to_natural(layout.unpack(trial), layout, scaling)
    values = np.array([to_vector(one, layout) for one in found])
    jacobian = ((values[: theta.size] - values[theta.size :]) / (2 * step[:, None])).T
    covariance = jacobian @ inverse @ jacobian.T
    estimate = to_vector(to_natural(layout.unpack(theta[None]), layout, scaling)[0], layout)
    held = np.diagonal(covariance) == 0.0  # degrees of freedom and variances at a bound
    for number, name in enumerate(parameter_names(layout)):
        if name.startswith("p[") and not layout.n_tvtp and estimate[number] < _ZERO:
            held[number] = True
    covariance[held] = np.nan
    covariance[:, held] = np.nan
    return covariance
