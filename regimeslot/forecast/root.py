"""Quantiles of a mixture: Newton's method on the log tail, inside a bracket that always shrinks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.forecast import density

__all__ = ["mixture_quantile"]

Array = NDArray[np.float64]

_TOLERANCE = 1e-8  # of the tail probability, relative, before the last step squares it
_NEWTON_ONLY = 12  # iterations before every other one halves the bracket
_MAX_ITERATIONS = 400  # the halving alone needs at most 64 of float spacing and 64 of midpoints


def _ordinal(x: Array) -> NDArray[np.int64]:
    """Integers in the order of the floats, so that halving them halves the floats in between."""
    bits = x.view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _from_ordinal(k: NDArray[np.int64]) -> Array:
    bits: NDArray[np.int64] = np.where(k < 0, np.int64(-(2**63)) - k, k)
    return bits.view(np.float64)


def _float_midpoint(low: Array, high: Array) -> Array:
    a, b = _ordinal(low), _ordinal(high)
    return _from_ordinal((a >> 1) + (b >> 1) + (a & b & 1))


def _bracket(p: Array, weights: Array, parts: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """The mixture quantile lies between the smallest and the largest component quantile."""
    largest = np.finfo(np.float64).max
    each = np.clip(density.quantile(p[:, None], *parts), -largest, largest)
    live = weights > 0
    low = np.where(live, each, np.inf).min(axis=1)
    high = np.where(live, each, -np.inf).max(axis=1)
    scale = np.where(live, parts[1], 0.0).max(axis=1)
    # component quantiles are rounded: leave room for the root just outside
    room = 1e-9 * np.maximum(np.abs(low), np.abs(high)) + 1e-9 * scale
    start = np.einsum("ek,ek->e", weights, np.clip(each, low[:, None], high[:, None]))
    with np.errstate(over="ignore"):
        return (
            np.clip(low - room, -largest, largest),
            np.clip(high + room, -largest, largest),
            np.clip(start, low, high),
        )


def mixture_quantile(p: Array, weights: Array, parts: tuple[Array, ...]) -> Array:
    """Quantiles at ``0 < p < 1`` of one mixture per row.

    Newton runs on ``log P(Y <= x)`` below the median level and on ``log P(Y > x)`` above it:
    tails are close to straight there, so few steps are needed and the relative accuracy of far
    tails is kept. A step that leaves the bracket is replaced by the midpoint. Rows that linger
    (spikes inside wide components) halve the bracket in the order of the floats themselves, which
    ends after 64 halvings whatever the scales.

    Parameters
    ----------
    p : (E,)
    weights : (E, K)
    parts : locations, scales, dof and skew, each (E, K)

    Returns
    -------
    (E,)
    """
    low, high, x = _bracket(p, weights, parts)
    upper = p > 0.5
    target = np.where(upper, 1.0 - p, p)
    active = np.arange(p.size)
    for iteration in range(_MAX_ITERATIONS):
        if active.size == 0:
            break
        here = tuple(part[active] for part in parts)
        w, point, right = weights[active], x[active], upper[active]
        column = point[:, None]
        flipped = np.where(right, -1.0, 1.0)
        tails = density.side_tail(column, right[:, None], *here)
        tail = np.einsum("ek,ek->e", w, tails)
        slope = np.einsum("ek,ek->e", w, np.exp(density.log_density(column, *here)))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            gap = np.log(tail / target[active])
            proposal = point - flipped * tail * gap / slope
        beyond = (gap > 0) == ~right  # the root lies to the left of the point
        low[active] = np.where(beyond, low[active], point)
        high[active] = np.where(beyond, point, high[active])
        left_end, right_end = low[active], high[active]
        with np.errstate(over="ignore"):
            widest = np.maximum(np.abs(left_end), np.abs(right_end))
            narrow = right_end - left_end <= np.spacing(widest)  # neighbouring floats
        done = (np.abs(gap) <= _TOLERANCE) | narrow

        inside = (proposal > left_end) & (proposal < right_end)
        middle = 0.5 * left_end + 0.5 * right_end
        proposal = np.where(inside, proposal, middle)
        if iteration >= _NEWTON_ONLY and iteration % 2:
            proposal = np.where(done, proposal, _float_midpoint(left_end, right_end))
        x[active] = np.where(done & ~inside, point, proposal)
        active = active[~done]
    return x
