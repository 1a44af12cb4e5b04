"""Continuous ranked probability score of mixtures: closed forms, and adaptive quadrature."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legint, legval, legvander
from numpy.typing import NDArray

from regimeslot.forecast import density

__all__ = ["mixture_crps"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_TOLERANCE = 1e-8  # of the score, per panel; the error of the sum stays far below it
_REACH = 2e3  # scales from the mode at which a tail is its power law, to 1e-7 of the score
_HEAVY_REACH = 1e9  # the same for dof below 1.2, where that tail is a large part of the score
_WIDEST = 6.0  # of a panel; in a wider one both rules may step over the same feature
_CHUNK = 100_000  # integrand values of one component at a time, to stay in the cache

# 15-point Kronrod rule on [-1, 1] with its embedded 7-point Gauss rule, as in QUADPACK
_HALF_NODES = [
    0.991455371120812639206854697526329,
    0.949107912342758524526189684047851,
    0.864864423359769072789712788640926,
    0.741531185599394439863864773280788,
    0.586087235467691130294144691693013,
    0.405845151377397166906606412076961,
    0.207784955007898467600689403773245,
]
_HALF_KRONROD = [
    0.022935322010529224963732008058970,
    0.063092092629978553290700663189204,
    0.104790010322250183839876322541518,
    0.140653259715525918745189590510238,
    0.169004726639267902826583426598550,
    0.190350578064785409913256402421014,
    0.204432940075298892414161999234649,
]
_HALF_GAUSS = [0.129484966168869693270611432679082, 0.279705391489276667901467771423780]
_HALF_GAUSS += [0.381830050505118944950369775488975]
_NODES = np.array([*(-x for x in _HALF_NODES), 0.0, *_HALF_NODES[::-1]])
_KRONROD = np.array([*_HALF_KRONROD, 0.209482141084727828012999174891714, *_HALF_KRONROD[::-1]])
_GAUSS = np.zeros(15)
_GAUSS[1:7:2] = _HALF_GAUSS
_GAUSS[7] = 0.417959183673469387755102040816327
_GAUSS[9:14:2] = _HALF_GAUSS[::-1]


def _integration_matrix() -> Array:
    """From values at the nodes to integrals from -1 to each node of their interpolant."""
    basis = np.eye(_NODES.size)
    integrals = legval(_NODES, legint(basis, lbnd=-1.0)).T
    return np.linalg.solve(legvander(_NODES, _NODES.size - 1).T, integrals.T).T


_CUMULATIVE = _integration_matrix()


def mixture_crps(y: Array, weights: Array, parts: tuple[Array, ...]) -> Array:
    """``integral (F(x) - 1{y <= x})^2 dx`` of one mixture and one point per row.

    Parameters
    ----------
    y : (E,)
    weights : (E, K)
    parts : locations, scales, dof and skew, each (E, K)

    Returns
    -------
    (E,)
        NaN where y is NaN; infinite where y is, and where a component with weight has
        ``dof <= 1/2``.
    """
    _, _, dof, skew = parts
    live = weights > 0
    divergent = np.any(live & (dof <= 0.5), axis=1) | np.isinf(y)
    result = np.where(np.isnan(y), np.nan, np.inf)
    open_rows = ~divergent & ~np.isnan(y)

    only = np.argmax(live, axis=1)[:, None]
    only_dof = np.take_along_axis(dof, only, 1)[:, 0]
    # the closed form is a difference of two poles near dof = 1: leave that to the quadrature
    single = open_rows & (live.sum(axis=1) == 1) & (np.abs(only_dof - 1.0) > 1e-3)
    if single.any():
        chosen = (np.take_along_axis(part[single], only[single], 1)[:, 0] for part in parts)
        result[single] = _single(y[single], *chosen)

    plain = np.all(~live | (np.isinf(dof) & (skew == 0)), axis=1)
    gaussian = open_rows & ~single & plain
    if gaussian.any():
        from scoringrules import crps_mixnorm

        result[gaussian] = crps_mixnorm(
            y[gaussian],
            parts[0][gaussian],
            parts[1][gaussian],
            weights[gaussian],
            backend="numpy",
        )

    rest = open_rows & ~single & ~gaussian
    if rest.any():
        result[rest] = _quadrature(y[rest], weights[rest], tuple(part[rest] for part in parts))
    return result


def _single(y: Array, location: Array, scale: Array, dof: Array, skew: Array) -> Array:
    """Closed form for one two-piece component.

    With ``T`` the standard distribution, ``h(u) = (nu + u^2) / (nu - 1) t(u)``, ``a`` the stretch
    of the side of y, ``b`` that of the other side, and ``u = |z| / a``:
    ``crps / s = (a^3 + b^3) Q + a u - 2 a^2 (h(0) + u T(-u) - h(u))`` where
    ``Q = integral_{-inf}^0 T^2 = h(0) - integral h t``. The last integral is again a Student-t
    one, with ``2 nu - 1`` degrees of freedom.
    """
    u, near = density.standardise(y, location, scale, skew)
    u = np.abs(u)
    far = 2.0 - near
    top = density.half_mean(np.zeros_like(u), dof)
    gaussian = np.isinf(dof)
    nu = np.where(gaussian, 2.0, dof)
    double = 2.0 * nu - 1.0
    log_square = 2.0 * density.log_constant(nu) - density.log_constant(double)
    student = nu / (nu - 1.0) * np.exp(log_square + 0.5 * np.log(nu / double))
    half_square = top - np.where(gaussian, 0.5 / np.sqrt(np.pi), student)
    moved = top + u * density.tail(-u, dof) - density.half_mean(u, dof)
    return scale * ((near**3 + far**3) * half_square + near * u - 2.0 * near**2 * moved)


def _quadrature(y: Array, weights: Array, parts: tuple[Array, ...]) -> Array:
    """Adaptive Gauss-Kronrod on panels of all rows at once.

    The integral runs over v with ``x = centre + spread sinh(v)``, so that scales of any ratio are
    a few panels apart, and each row has its kink at y on a panel border. Tails beyond the panels
    are added as the power law that they are. All terms are positive: nothing cancels, and the
    tolerance is relative.
    """
    location, scale, dof, skew = parts
    live = weights > 0
    centre = np.einsum("ek,ek->e", weights, location)
    spread = np.exp(np.einsum("ek,ek->e", weights, np.log(scale)))
    reach = scale * np.where(dof < 1.2, _HEAVY_REACH, _REACH)
    low = np.minimum(y, np.where(live, location - reach, np.inf).min(axis=1))
    high = np.maximum(y, np.where(live, location + reach, -np.inf).max(axis=1))
    result = _power_tail(low, False, weights, parts) + _power_tail(high, True, weights, parts)

    def unwrap(x: Array) -> Array:
        return np.arcsinh((x - centre[:, None]) / spread[:, None])

    ends = unwrap(np.column_stack([low, high, y]))
    # third derivatives jump at the mode of a skewed component, and spikes are best cut in two
    narrow = scale < 0.2 * np.hypot(spread[:, None], location - centre[:, None])
    marked = live & ((skew != 0) | narrow)
    modes = np.where(marked, unwrap(location), ends[:, 2:])
    fixed = np.clip(np.array([-3.5, -1.0, 1.0, 3.5]), ends[:, :1], ends[:, 1:2])
    borders = np.sort(np.column_stack([ends, modes, fixed]), axis=1)
    left, right = borders[:, :-1].ravel(), borders[:, 1:].ravel()
    row = np.repeat(np.arange(y.size), borders.shape[1] - 1)
    wide = right > left
    left, right, row = left[wide], right[wide], row[wide]

    while row.size:
        value, error = np.empty(row.size), np.empty(row.size)
        step = max(1, _CHUNK // _NODES.size)
        for begin in range(0, row.size, step):
            part = slice(begin, begin + step)
            value[part], error[part] = _panels(
                left[part],
                right[part],
                left[part] >= ends[row[part], 2],
                centre[row[part]],
                spread[row[part]],
                weights[row[part]],
                tuple(array[row[part]] for array in parts),
            )
        # measured by what is sure: a panel far from resolved may hold a huge wrong value
        sure = result + np.bincount(row, np.maximum(value - error, 0.0), y.size)
        middle = 0.5 * (left + right)
        exhausted = (middle <= left) | (middle >= right)
        seen = (error <= _TOLERANCE * sure[row]) & (right - left <= _WIDEST)
        accepted = seen | exhausted
        result += np.bincount(row[accepted], value[accepted], y.size)
        split = ~accepted
        left, middle, right = left[split], middle[split], right[split]
        row = np.repeat(row[split], 2)
        left, right = (
            np.column_stack([left, middle]).ravel(),
            np.column_stack([middle, right]).ravel(),
        )
    return result


def _panels(
    left: Array,
    right: Array,
    above: NDArray[np.bool_],
    centre: Array,
    spread: Array,
    weights: Array,
    parts: tuple[Array, ...],
) -> tuple[Array, Array]:
    """Integral of the squared tail over each panel in v, and an estimate of its error.

    A Student-t density costs a fifth of its distribution function. So the tail at the nodes is the
    tail at the panel's outer end, which is exact, plus the integral of the density interpolated
    between the nodes: a sum of positive terms.
    """
    half = 0.5 * (right - left)
    outward = np.where(above, 1.0, -1.0)
    v = (0.5 * (left + right))[:, None] - (outward * half)[:, None] * _NODES
    x = centre[:, None] + spread[:, None] * np.sinh(v)
    stretch = spread[:, None] * np.cosh(v) * half[:, None]  # dx per unit of the nodes
    mass = np.zeros_like(x)
    constants = weights * np.exp(density.log_constant(parts[2])) / parts[1]
    for k in range(weights.shape[1]):
        location, scale, dof, skew = (part[:, k, None] for part in parts)
        u, _ = density.standardise(x, location, scale, skew)
        mass += constants[:, k, None] * np.exp(density.log_kernel(u, dof, 1.0))
    ends = np.column_stack([np.where(above, right, left), np.where(above, left, right)])
    ends = (centre[:, None] + spread[:, None] * np.sinh(ends))[:, :, None]
    sides = above[:, None, None]
    each = density.side_tail(ends, sides, *(part[:, None] for part in parts))
    outer, inner = np.einsum("pk,pek->ep", weights, each)

    mass *= stretch
    tail = outer[:, None] + mass @ _CUMULATIVE.T
    values = tail * tail * stretch
    kronrod = values @ _KRONROD
    rough = np.abs(kronrod - values @ _GAUSS)
    # QUADPACK's rule: the Gauss error measures the Gauss rule, the Kronrod rule is much better
    variation = np.abs(values - 0.5 * kronrod[:, None]) @ _KRONROD
    with np.errstate(divide="ignore", invalid="ignore"):
        shrunk = variation * np.minimum(1.0, (200.0 * rough / variation) ** 1.5)
    error = np.where(variation > 0, shrunk, rough)
    # a spike between the nodes shows where the integrated density misses the tail's change
    missed = np.abs(outer + mass @ _KRONROD - inner)
    return kronrod, error + missed * ((2.0 * tail + missed[:, None]) * stretch @ _KRONROD)


def _power_tail(x: Array, above: bool, weights: Array, parts: tuple[Array, ...]) -> Array:
    """``integral G^2`` beyond x, where ``G(x + d)`` is a power of the distance from the mode."""
    column = x[:, None]
    tails = weights * density.side_tail(column, np.array(above), *parts)
    slopes = weights * np.exp(density.log_density(column, *parts))
    distance = np.abs(column - parts[0])
    tail = tails.sum(axis=1)
    numerator = tail**2 * (distance * tails).sum(axis=1)
    denominator = 2.0 * (distance * slopes).sum(axis=1) - tail
    return np.divide(numerator, denominator, out=np.zeros_like(x), where=denominator > 0)
