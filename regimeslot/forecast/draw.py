"""What a mixture gives beyond a quantile on average, and draws from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.forecast import density

__all__ = ["draw", "mean_beyond"]

Array = NDArray[np.float64]
Parts = tuple[Array, Array, Array, Array]  # locations, scales, dof, skew, each (n, 1, K)


def mean_beyond(cut: Array, levels: Array, weights: Array, parts: Parts) -> Array:
    """Mean loss (n, m) below the quantiles ``cut`` (n, m) at ``levels`` (m,)."""
    live = (weights > 0)[:, None, :]
    points = cut[:, :, None]
    partial = np.where(live, density.lower_tail_mean(points, *parts), 0.0)
    below = np.where(live, density.lower_tail(points, *parts), 0.0)
    total = np.einsum("nk,nmk->nm", weights, partial)
    # the share of outcomes below the cut differs from the level by rounding: count the rest at it
    rest = levels - np.einsum("nk,nmk->nm", weights, below)
    shortfall = -(total + cut * rest) / levels
    no_mean = np.any((weights > 0) & (parts[2][:, 0] <= 1.0), axis=1)
    shortfall[no_mean] = np.inf
    return np.asarray(shortfall)


def draw(size: int, weights: Array, parts: Parts, rng: np.random.Generator) -> Array:
    """Independent draws (n, size)."""
    cumulative = np.cumsum(weights, axis=1)
    # scaled by the last sum, so that rounding never picks a component without weight
    pick = rng.uniform(size=(len(weights), size)) * cumulative[:, -1:]
    chosen = (pick[:, :, None] >= cumulative[:, None, :]).sum(axis=2)
    m, s, nu, skew = (np.take_along_axis(part[:, 0], chosen, 1) for part in parts)
    gaussian = np.isinf(nu)
    draws = np.abs(rng.standard_normal(nu.shape))
    chi = rng.standard_gamma(0.5 * np.where(gaussian, 1.0, nu))
    with np.errstate(divide="ignore", over="ignore"):
        draws *= np.where(gaussian, 1.0, np.sqrt(0.5 * nu / chi))
    right = rng.uniform(size=nu.shape) < 0.5 * (1.0 + skew)
    return np.asarray(m + s * draws * np.where(right, 1.0 + skew, skew - 1.0))
