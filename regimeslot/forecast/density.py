"""Two-piece Student-t components as pure functions; everything broadcasts.

With ``z = (y - m) / s`` and the stretch ``b = 1 + lambda sign(z)`` the density of a component is
``t_nu(z / b) / s``. The part left of the mode holds the mass ``(1 - lambda) / 2``. An infinite
``dof`` is the Gaussian. Tails are computed as tails, never as one minus a number close to one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, ndtr, ndtri, stdtr, stdtrit

__all__ = [
    "half_mean",
    "log_constant",
    "log_density",
    "log_kernel",
    "lower_tail",
    "lower_tail_mean",
    "quantile",
    "side_tail",
    "standardise",
    "tail",
]

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))
_FAR = 1e100  # beyond this u * u may overflow; the power law of the tail is exact to rounding there


def standardise(y: Array, location: Array, scale: Array, skew: Array) -> tuple[Array, Array]:
    """``u = |z| / b`` and the stretch ``b`` of the side on which ``y`` lies, signed like z."""
    with np.errstate(over="ignore"):
        z = (y - location) / scale
    stretch = np.where(z < 0, 1.0 - skew, 1.0 + skew)
    return z / stretch, stretch


def log_constant(dof: Array) -> Array:
    """Log of the standard Student-t density at zero."""
    finite = np.isfinite(dof)
    nu = np.where(finite, dof, 1.0)
    return np.where(finite, -0.5 * np.log(nu) - betaln(0.5, 0.5 * nu), -0.5 * _LOG_2PI)


def _log1p_square(r: Array) -> Array:
    """``log(1 + r^2)`` without overflow."""
    far = np.abs(r) > _FAR
    if not far.any():
        return np.log1p(r * r)
    near = np.where(far, 0.0, r)
    return np.where(far, 2.0 * np.log(np.where(far, np.abs(r), 1.0)), np.log1p(near * near))


def log_kernel(u: Array, dof: Array, power: float) -> Array:
    """``-(nu + power) / 2 log(1 + u^2 / nu)``, or its limit ``-u^2 / 2``."""
    finite = np.isfinite(dof)
    nu = np.where(finite, dof, 1.0)
    with np.errstate(over="ignore"):
        student = -0.5 * (nu + power) * _log1p_square(u / np.sqrt(nu))
    if finite.all():
        return student
    with np.errstate(over="ignore"):
        return np.where(finite, student, -0.5 * u * u)


def log_density(y: Array, location: Array, scale: Array, dof: Array, skew: Array) -> Array:
    """Log density of each component."""
    u, _ = standardise(y, location, scale, skew)
    return log_constant(dof) + log_kernel(u, dof, 1.0) - np.log(scale)


def _far_tail(u: Array, dof: Array) -> Array:
    """``P(T < -u)`` where ``u^2 / nu`` dwarfs one: the power law."""
    log_tail = log_constant(dof) + 0.5 * (dof - 1.0) * np.log(dof) - dof * np.log(u)
    return np.exp(log_tail)


def tail(u: Array, dof: Array) -> Array:
    """``P(T < -|u|)`` of the standard Student-t, at most one half."""
    negative, nu = np.broadcast_arrays(-np.abs(u), dof)
    finite = np.isfinite(nu)
    if not finite.any():
        return ndtr(negative)
    if finite.all():
        mass = stdtr(nu, negative)
    else:
        mass = np.empty(negative.shape)
        mass[finite] = stdtr(nu[finite], negative[finite])
        mass[~finite] = ndtr(negative[~finite])
    far = finite & (negative < -_FAR) & np.isfinite(negative)
    if far.any():
        mass[far] = _far_tail(-negative[far], nu[far])
    return mass


def side_tail(
    y: Array,
    above: NDArray[np.bool_],
    location: Array,
    scale: Array,
    dof: Array,
    skew: Array,
) -> Array:
    """``P(Y > y)`` of each component where ``above``, else ``P(Y <= y)``."""
    u, stretch = standardise(y, location, scale, skew)
    mass = stretch * tail(u, dof)
    return np.where((u < 0) != above, mass, 1.0 - mass)


def lower_tail(y: Array, location: Array, scale: Array, dof: Array, skew: Array) -> Array:
    """``P(Y <= y)`` of each component."""
    return side_tail(y, np.array(False), location, scale, dof, skew)


def quantile(p: Array, location: Array, scale: Array, dof: Array, skew: Array) -> Array:
    """Quantile of each component; the accuracy is that of ``scipy.special.stdtrit``."""
    left = 0.5 * (1.0 - skew)
    below = p < left
    stretch = np.where(below, 1.0 - skew, 1.0 + skew)
    mass, nu = np.broadcast_arrays(np.minimum(np.where(below, p, 1.0 - p) / stretch, 0.5), dof)
    finite = np.isfinite(nu)
    u = np.empty(mass.shape)
    u[~finite] = -ndtri(mass[~finite])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        u[finite] = -stdtrit(nu[finite], mass[finite])
        far = finite & ~(np.abs(u) < _FAR)
        if far.any():
            constant = log_constant(nu[far]) + 0.5 * (nu[far] - 1.0) * np.log(nu[far])
            u[far] = np.exp((constant - np.log(mass[far])) / nu[far])
        return location + scale * np.where(below, -stretch, stretch) * u


def half_mean(u: Array, dof: Array) -> Array:
    """``E[T 1{T > |u|}] = (nu + u^2) / (nu - 1) t_nu(u)``.

    Where ``nu <= 1`` there is no such mean, and the formula is continued.
    """
    finite = np.isfinite(dof)
    nu = np.where(finite, dof, 2.0)
    with np.errstate(divide="ignore"):
        factor = np.where(finite, nu / (nu - 1.0), 1.0)
    return factor * np.exp(log_constant(dof) + log_kernel(u, dof, -1.0))


def lower_tail_mean(y: Array, location: Array, scale: Array, dof: Array, skew: Array) -> Array:
    """``E[Y 1{Y <= y}]`` of each component; meaningless where nu <= 1."""
    u, stretch = standardise(y, location, scale, skew)
    top = half_mean(np.zeros_like(u), dof)
    left, here = (1.0 - skew) ** 2, stretch**2 * half_mean(u, dof)
    standard = np.where(u < 0, -here, ((1.0 + skew) ** 2 - left) * top - here)
    return location * lower_tail(y, location, scale, dof, skew) + scale * standard
