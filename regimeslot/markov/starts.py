"""Where the estimation starts: volatility quantiles, levels, contiguous blocks, perturbations.

Every candidate is sticky. All random numbers are drawn once per candidate and applied to every
series of a batch, so a series fitted in a batch starts where it would start alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.emission import Observations, RegressionEmission
from regimeslot.markov.layout import VARIANCE_FLOOR, Layout, Parts, raw_from_dof

__all__ = ["candidate_starts", "pooled_regression", "stretches", "with_slopes"]

Array = NDArray[np.float64]

_FIRST_DOF = 8.0
_STRETCH = 256  # rows of one stretch when a long series is screened on part of its rows
_SCREEN_ROWS = 2048
_CYCLE = (3, 2, 3, 4, 3, 5)  # kinds of the candidates after the first two


def pooled_regression(y: Array, columns: Array, observed: Array | None) -> tuple[Array, Array]:
    """Least squares without regimes: coefficients (D, J) and residuals (D, T), 0 where missing."""
    if columns.shape[1] == 0:
        return np.zeros((y.shape[0], 0)), y if observed is None else y * observed
    weighted = columns if observed is None else columns * observed[:, None]
    gram = np.matmul(weighted, columns.transpose(0, 2, 1))
    right = np.matmul(weighted, y[..., None])
    coef = np.linalg.solve(gram + 1e-12 * np.eye(gram.shape[-1]), right)[..., 0]
    residual = y - np.matmul(coef[:, None], columns)[:, 0]
    return coef, residual if observed is None else residual * observed


def _moving_average(rows: Array, width: int) -> Array:
    """Centred moving average of (D, T), shorter at the ends."""
    width = max(1, min(width, rows.shape[1]))
    total = np.cumsum(np.pad(rows, ((0, 0), (1, 0))), axis=1)
    at = np.arange(rows.shape[1])
    low = np.maximum(at - width // 2, 0)
    high = np.minimum(at + (width + 1) // 2, rows.shape[1])
    return (total[:, high] - total[:, low]) / (high - low)


def _quantile_labels(rows: Array, edges: Array) -> NDArray[np.intp]:
    """Which part of its own distribution each entry of (D, T) is in; ``edges`` in (0, 1)."""
    ranks = rows.argsort(axis=1).argsort(axis=1) / max(1, rows.shape[1])
    return np.searchsorted(edges, ranks, side="right")


def _block_labels(n_regimes: int, n_rows: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Random regimes in blocks of geometric length."""
    mean_length = n_rows / (n_regimes * rng.uniform(1.5, 8.0))
    change = rng.random(n_rows) < 1.0 / max(2.0, mean_length)
    jump = rng.integers(1, n_regimes, n_rows) * change if n_regimes > 1 else np.zeros(n_rows, int)
    return (rng.integers(n_regimes) + np.cumsum(jump)) % n_regimes


def candidate_starts(
    layout: Layout, data: Observations, n_candidates: int, rng: np.random.Generator
) -> Parts:
    """Candidates of every series, (D * n_candidates) with the candidates of a series together.

    The transition matrix is constant (slopes on transition regressors start at 0).
    """
    k, p = layout.n_regimes, layout.n_ar
    y, columns = data.y[:, p:], data.columns[:, :, p:]
    n_series, n_rows = y.shape
    pooled, residual = pooled_regression(y, columns, data.observed)
    size = np.sqrt((columns**2).mean(axis=2)) + 1e-12
    smoothed = np.empty((k, n_series, n_candidates, n_rows))
    nudge = np.zeros((n_candidates, k, len(layout.columns)))
    log_variance = np.zeros((n_candidates, k))
    stay = np.full((n_candidates, k), 0.95)
    labelled = np.ones(n_candidates, bool)
    even = np.arange(1, k) / k
    for c in range(n_candidates):
        kind = c if c < 2 else _CYCLE[c % len(_CYCLE)]
        if kind in (0, 4):
            width = max(5, min(21, n_rows // 10)) if c == 0 else int(rng.integers(3, 40))
            edges = even if c == 0 else np.sort(rng.uniform(0.05, 0.95, k - 1))
            labels = _quantile_labels(_moving_average(residual**2, width), edges)
            stay[c] = 0.98
        elif kind in (1, 5):
            width = 3 if c == 1 else int(rng.integers(1, 12))
            edges = even if c == 1 else np.sort(rng.uniform(0.05, 0.95, k - 1))
            labels = _quantile_labels(_moving_average(residual, width), edges)
        elif kind == 2:
            labels = np.broadcast_to(_block_labels(k, n_rows, rng), (n_series, n_rows))
        else:
            labelled[c] = False
            nudge[c] = 0.7 * rng.standard_normal(nudge.shape[1:])
            log_variance[c] = np.linspace(-1.5, 1.5, k) + 0.8 * rng.standard_normal(k)
            stay[c] = rng.uniform(0.4, 0.99, k)
            labels = np.zeros((n_series, n_rows), np.intp)
        smoothed[:, :, c] = 0.9 * (labels == np.arange(k)[:, None, None]) + 0.1 / k

    emission = RegressionEmission(
        layout if not p else _without_ar(layout),
        data if not p else Observations(y, columns, data.observed),
    )
    series = np.repeat(np.arange(n_series), n_candidates)
    coef, variance, _ = emission.maximise(
        smoothed.reshape(k, -1, n_rows), None, series, np.ones((series.size, k)), 1e-3
    )
    free = np.flatnonzero(np.tile(~labelled, n_series))
    drawn = free % n_candidates
    common = ~np.array(layout.switching, bool)
    nudge[:, :, common] = 0.0
    coef[free] = pooled[series[free], None] + nudge[drawn] / size[series[free], None]
    spread = np.exp(log_variance[drawn]) if layout.switching_variance else np.full((1, k), 0.7)
    variance[free] = spread * (residual**2).mean(axis=1)[series[free], None]

    ar = 0.15 * rng.standard_normal((n_candidates, 1, p)) * np.ones((1, k, 1))
    leave = np.tile((1.0 - stay) / max(1, k - 1), (n_series, 1))
    logits = np.log(leave / np.tile(stay, (n_series, 1)))[:, :, None] * ~np.eye(k, dtype=bool)
    return Parts(
        logits[..., None],
        coef,
        np.tile(ar, (n_series, 1, 1)),
        np.log(np.maximum(variance - VARIANCE_FLOOR, VARIANCE_FLOOR)),
        np.full((series.size, k if layout.student else 0), raw_from_dof(_FIRST_DOF)),
        np.zeros((series.size, k if layout.estimated_initial else 0)),
    )


def _without_ar(layout: Layout) -> Layout:
    """The same regression without the autoregression of its deviations."""
    return Layout(
        layout.n_regimes,
        layout.columns,
        layout.switching,
        switching_variance=layout.switching_variance,
    )


def stretches(data: Observations, n_rows: int) -> tuple[Observations, int] | None:
    """Stretches spread evenly over a long series, laid end to end, and how many."""
    if n_rows < 2 * _SCREEN_ROWS:
        return None
    number = _SCREEN_ROWS // _STRETCH
    begins = np.linspace(0, n_rows - _STRETCH, number).astype(int)
    rows = (begins[:, None] + np.arange(_STRETCH)).ravel()
    observed = None if data.observed is None else data.observed[:, rows]
    return Observations(data.y[:, rows], data.columns[:, :, rows], observed), number


def with_slopes(constant: Layout, layout: Layout, theta: Array, rng: np.random.Generator) -> Array:
    """Constant-transition estimates as starts of a time-varying model, with random slopes."""
    parts = constant.unpack(theta)
    shape = (*parts.logits.shape[:3], layout.n_tvtp - 1)
    slopes = rng.standard_normal(shape) * layout.off_diagonal[..., None]
    slopes[0] = 0.0
    moderate = np.clip(parts.logits, -5.0, 5.0)
    logits = np.concatenate([moderate, slopes], axis=3)
    return layout.pack(
        Parts(logits, parts.coef, parts.ar, parts.raw_variance, parts.raw_dof, parts.raw_initial)
    )
