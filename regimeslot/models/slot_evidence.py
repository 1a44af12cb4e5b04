r"""Penalties chosen by the evidence: a feature that tells a slot nothing is shrunk away.

The penalty of one group of coefficients, :math:`\lambda_g\,\theta' D_g \theta`, is the log of a
Gaussian prior with precision :math:`2\lambda_g D_g`. Laplace's approximation of the marginal
likelihood is greatest where

.. math:: 2\lambda_g\,\theta' D_g \theta = r_g - 2\lambda_g\,\mathrm{tr}(\Sigma D_g)

with r_g the rank of D_g and Sigma the posterior covariance, which is iterated to a fixed point
(MacKay 1992, Neural Computation 4; Tipping 2001, JMLR 1). Only training rows are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regimeslot.models.slot_objective import Penalty, SlotObjective
from regimeslot.solvers.bfgs import Minimum, minimize_bfgs

__all__ = ["refine_by_evidence"]

Array = NDArray[np.float64]

_ROUNDS = 12
_SETTLED = 1e-3  # of any parameter, in standardised units
_RANGE = (1e-3, 1e4)  # of a strength: no shrinkage to speak of, nothing left
_STEP = 1e-4  # of the differences of the gradient


@dataclass(frozen=True)
class _Group:
    """Coefficients that share one strength: where they stand, their form D, its rank."""

    field: str
    entry: tuple[int, ...]
    where: NDArray[np.intp]
    form: Array
    rank: int


def refine_by_evidence(
    objective: SlotObjective, found: Minimum, tolerance: float
) -> tuple[SlotObjective, Minimum]:
    """Alternate between the strengths that explain the coefficients and the fit under them.

    Parameters
    ----------
    objective : SlotObjective
        With the strengths to start from; where one is zero, it stays so.
    found : Minimum
        Its minimum.
    tolerance : float
        Of each fit, as in :func:`regimeslot.solvers.bfgs.minimize_bfgs`.

    Returns
    -------
    tuple of (SlotObjective, Minimum)
        The objective with the last strengths (``objective.penalty``), and its minimum.
    """
    groups = [g for g in _groups(objective) if _strength(objective.penalty, g) > 0.0]
    for _ in range(_ROUNDS if groups else 0):
        penalty = _updated(objective, found.x, groups)
        objective = SlotObjective(objective.spec, penalty, objective.rows)
        before = found.x
        metric = objective.inverse_information(before)
        found = minimize_bfgs(objective, before, metric, tolerance=tolerance)
        if np.abs(found.x - before).max() < _SETTLED:
            break
    return objective, found


def _groups(objective: SlotObjective) -> Iterator[_Group]:
    spec, where = objective.spec, objective.positions
    slots = spec.n_slots
    one = np.ones((1, 1))
    mean = np.full((slots, slots), 1.0 / slots)
    apart = np.eye(slots) - mean
    relative = apart[1:, 1:]
    for entry in np.ndindex(slots, spec.n_location):
        yield _Group("location_slope", entry, where["location_slope"][entry].reshape(1), one, 1)
    for f in range(spec.n_scale):
        yield _Group("shared", (f,), where["scale_slope"][:, f], mean / slots, 1)
        if slots > 1:
            yield _Group("deviation", (f,), where["scale_slope"][:, f], apart, slots - 1)
    if slots > 1:
        for f in range(spec.n_gate):
            yield _Group("gate", (f,), where["slope"][:, f], relative, slots - 1)
        if objective.selector.memory:
            form = np.kron(apart, relative)
            yield _Group("memory", (), where["bias"].ravel(), form, (slots - 1) ** 2)


def _strength(penalty: Penalty, group: _Group) -> float:
    value = getattr(penalty, group.field)
    return float(value[group.entry] if np.ndim(value) else value)


def _updated(objective: SlotObjective, theta: Array, groups: list[_Group]) -> Penalty:
    covariance = _covariance(objective, theta)
    spec = objective.spec
    shapes = {
        "location_slope": (spec.n_slots, spec.n_location),
        "shared": (spec.n_scale,),
        "deviation": (spec.n_scale,),
        "gate": (spec.n_gate,),
        "memory": (),
    }
    strengths = {
        name: np.array(np.broadcast_to(getattr(objective.penalty, name), shape), float)
        for name, shape in shapes.items()
    }
    for group in groups:
        own = theta[group.where]
        size = float(own @ group.form @ own)
        spread = float(np.sum(covariance[np.ix_(group.where, group.where)] * group.form))
        told = max(group.rank - 2.0 * _strength(objective.penalty, group) * spread, 1e-3)
        strength = told / (2.0 * max(size, 1e-12))
        strengths[group.field][group.entry] = min(max(strength, _RANGE[0]), _RANGE[1])
    return replace(
        objective.penalty,
        location_slope=strengths["location_slope"],
        shared=strengths["shared"],
        deviation=strengths["deviation"],
        gate=strengths["gate"],
        memory=float(strengths["memory"]),
    )


def _covariance(objective: SlotObjective, theta: Array) -> Array:
    """Inverse of the objective's Hessian, by central differences of its exact gradient."""
    size = len(theta)
    hessian = np.empty((size, size))
    for i, step in enumerate(_STEP * np.eye(size)):
        hessian[i] = (objective(theta + step)[1] - objective(theta - step)[1]) / (2.0 * _STEP)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    # At a minimum no curvature is negative; what differences make of a flat direction is.
    return np.asarray((vectors / np.maximum(values, _RANGE[0])) @ vectors.T, float)
