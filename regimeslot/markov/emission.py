"""Densities of the observations given the regime, with their exact scores.

Two forms. :class:`RegressionEmission`: the location is a linear function of known columns, so
each regime's weighted Gram matrix holds all that the M step and the score need.
:class:`MeanAdjustedEmission` (Hamilton 1989): deviations from the regime's mean are
autoregressive, so the density depends on the regimes of the last p rows as well, and the states
are the K^(p+1) tuples (z_t, ..., z_t-p).

Arrays: K regimes, M states, S starts or series, T rows, J columns; time last.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, psi

from regimeslot.markov.layout import DOF_CEILING, DOF_FLOOR, VARIANCE_FLOOR, Layout, Parts

__all__ = [
    "Emission",
    "MeanAdjustedEmission",
    "Observations",
    "RegressionEmission",
    "Scored",
    "stack",
]

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Observations:
    """Standardised data of D series; D is 1 when all starts share one series.

    Attributes
    ----------
    y : (D, T + p)
        Missing values are 0. The first p rows are only lags.
    columns : (D, J, T + p)
    observed : (D, T) of ones and zeros, or None when every row is observed
    transition_columns : (Q, T + p) or None
    """

    y: Array
    columns: Array
    observed: Array | None = None
    transition_columns: Array | None = None

    def take(self, rows: NDArray[np.intp]) -> Observations:
        """The series of some starts; the same object when all share one."""
        if self.y.shape[0] == 1:
            return self
        observed = None if self.observed is None else self.observed[rows]
        return Observations(self.y[rows], self.columns[rows], observed, self.transition_columns)


def stack(pieces: list[Observations]) -> Observations:
    """Several series of one length as one batch."""
    observed = None
    if any(piece.observed is not None for piece in pieces):
        n_rows = pieces[0].y.shape[1]
        observed = np.concatenate(
            [np.ones((1, n_rows)) if p.observed is None else p.observed for p in pieces]
        )
    return Observations(
        np.concatenate([piece.y for piece in pieces]),
        np.concatenate([piece.columns for piece in pieces]),
        observed,
    )


@dataclass(frozen=True)
class Scored:
    """Log-densities and what their score reuses.

    Attributes
    ----------
    log_density : (M, S, T)
    residual : (M, S, T)
    weight : (M, S, T) or None
        Student-t's u = (nu + 1) / (nu + e^2 / v); None is 1.
    log_excess : (M, S, T) or None
        Student-t's log(1 + e^2 / (v nu)).
    """

    log_density: Array
    residual: Array
    weight: Array | None
    log_excess: Array | None


def _log_density(residual: Array, variance: Array, dof: Array | None) -> Scored:
    """Gaussian or Student-t; ``variance`` and ``dof`` broadcast against the residual."""
    square = residual * residual
    if dof is None:
        square *= -0.5 / variance
        square -= 0.5 * (_LOG_2PI + np.log(variance))
        return Scored(square, residual, None, None)
    square /= dof * variance
    log_excess = np.log1p(square)
    square += 1.0
    weight = np.divide((dof + 1.0) / dof, square, out=square)
    constant = gammaln(0.5 * (dof + 1)) - gammaln(0.5 * dof) - 0.5 * np.log(np.pi * dof * variance)
    return Scored(constant - 0.5 * (dof + 1.0) * log_excess, residual, weight, log_excess)


def _dof_score(dof: Array, count: Array, log_excess: Array, weighted_square: Array) -> Array:
    """Score by raw dof from sums over rows: counts, log excess, and u e^2 / v."""
    constant = psi(0.5 * (dof + 1)) - psi(0.5 * dof)
    by_dof = 0.5 * (constant * count - log_excess + (weighted_square - count) / dof)
    return by_dof * (dof - DOF_FLOOR) * (DOF_CEILING - dof) / (DOF_CEILING - DOF_FLOOR)


class RegressionEmission:
    """Location ``x_t' b_k``; states are the K regimes.

    Parameters
    ----------
    layout : Layout
    data : Observations
    """

    def __init__(self, layout: Layout, data: Observations) -> None:
        self.layout, self.data = layout, data
        self.n_states = layout.n_regimes
        n_columns = len(layout.columns)
        rows = np.concatenate([data.columns, data.y[:, None]], axis=1)
        upper = np.triu_indices(n_columns + 1)
        products = rows[:, upper[0]] * rows[:, upper[1]]
        ones = np.ones((rows.shape[0], 1, rows.shape[2]))
        products = np.concatenate([ones, products], axis=1)
        if data.observed is not None:
            products *= data.observed[:, None]
        self._products, self._upper = products, upper

    def score_rows(self, parts: Parts, rows: NDArray[np.intp]) -> Scored:
        """Log-densities (K, S, T) of all starts; ``rows`` says which series each start sees."""
        data = self.data.take(rows)
        constant = self.layout.columns == ("const",)
        if constant:
            location = parts.coef.transpose(1, 0, 2)
        else:
            location = np.matmul(parts.coef, data.columns).transpose(1, 0, 2)
        residual = np.empty((self.n_states, rows.size, data.y.shape[1]))
        np.subtract(data.y, location, out=residual)  # numpy would keep the product's memory order
        dof = parts.dof.T[..., None] if self.layout.student else None
        scored = _log_density(residual, parts.variance.T[..., None], dof)
        if data.observed is not None:
            np.multiply(scored.log_density, data.observed, out=scored.log_density)
        return scored

    def gram(
        self, smoothed: Array, weight: Array | None, rows: NDArray[np.intp]
    ) -> tuple[Array, Array, Array, Array]:
        """Weighted counts (S, K) and products X'X, X'y, y'y of every regime."""
        products = self._products if self._products.shape[0] == 1 else self._products[rows]
        weights = smoothed if weight is None else smoothed * weight
        if products.shape[0] == 1:
            sums = np.dot(weights, products[0].T).transpose(1, 0, 2)
            count = sums[..., 0]
            if weight is not None:
                count = np.dot(smoothed, products[0, 0]).T
        else:
            transposed = products.transpose(0, 2, 1)
            sums = np.matmul(weights.transpose(1, 0, 2), transposed)
            count = sums[..., 0]
            if weight is not None:
                count = np.matmul(smoothed.transpose(1, 0, 2), transposed[..., :1])[..., 0]
        size = len(self.layout.columns) + 1
        gram = np.empty((*sums.shape[:2], size, size))
        gram[..., self._upper[0], self._upper[1]] = sums[..., 1:]
        gram[..., self._upper[1], self._upper[0]] = sums[..., 1:]
        return count, gram[..., :-1, :-1], gram[..., :-1, -1], gram[..., -1, -1]

    def score(
        self,
        parts: Parts,
        scored: Scored,
        smoothed: Array,
        rows: NDArray[np.intp],
        variance_prior: float,
    ) -> dict[str, Array]:
        """Score of the log-likelihood by each block of parameters."""
        layout = self.layout
        variance = parts.variance
        count, xx, xy, yy = self.gram(smoothed, scored.weight, rows)
        fitted = np.matmul(xx, parts.coef[..., None])[..., 0]
        square = yy - 2 * (parts.coef * xy).sum(-1) + (parts.coef * fitted).sum(-1)
        ratio = square / variance
        by_variance = 0.5 * (ratio - count + variance_prior * (1.0 / variance - 1.0))
        by_variance *= (variance - VARIANCE_FLOOR) / variance
        score = {
            "coef": layout.collapse_coef((xy - fitted) / variance[..., None]),
            "variance": layout.collapse(by_variance, layout.switching_variance),
        }
        if scored.log_excess is not None:
            excess = scored.log_excess
            observed = self.data.take(rows).observed
            if observed is not None:
                excess = excess * observed
            total = np.einsum("kst,kst->sk", smoothed, excess)
            by_dof = _dof_score(parts.dof, count, total, ratio)
            score["dof"] = layout.collapse(by_dof, layout.switching_dof)
        return score

    def maximise(
        self,
        smoothed: Array,
        weight: Array | None,
        rows: NDArray[np.intp],
        variance: Array,
        variance_prior: float,
    ) -> tuple[Array, Array, Array]:
        """M step: coefficients (S, K, J) and variances (S, K), and the counts (S, K).

        ``variance`` of the last iteration weighs the regimes where a coefficient is common.
        """
        layout = self.layout
        count, xx, xy, yy = self.gram(smoothed, weight, rows)
        n_columns = len(layout.columns)
        ridge = 1e-9 * np.eye(max(n_columns, layout.n_coef))
        if n_columns == 0:
            coef = np.zeros((*count.shape, 0))
        elif all(layout.switching):
            coef = np.linalg.solve(xx + ridge[:n_columns, :n_columns], xy[..., None])[..., 0]
        else:
            spread, scale = layout.spread, 1.0 / variance
            wide = np.matmul(scale[..., None, None] * xx, spread)  # (S, K, J, n_coef)
            normal = np.tensordot(wide, spread, ((1, 2), (0, 1)))
            right = np.tensordot(scale[..., None] * xy, spread, ((1, 2), (0, 1)))
            size = layout.n_coef
            free = np.linalg.solve(normal + ridge[:size, :size], right[..., None])[..., 0]
            coef = free[:, layout.position]
        square = (
            yy - 2 * (coef * xy).sum(-1) + (coef * np.matmul(xx, coef[..., None])[..., 0]).sum(-1)
        )
        square = np.maximum(square, 0.0) + variance_prior
        total = count + variance_prior
        if not layout.switching_variance:
            square = np.broadcast_to(square.sum(1, keepdims=True), square.shape)
            total = np.broadcast_to(total.sum(1, keepdims=True), total.shape)
        return coef, np.maximum(square / np.maximum(total, 1e-300), 2 * VARIANCE_FLOOR), count


class MeanAdjustedEmission:
    """Hamilton's form: ``y_t - m_zt = sum_i phi_i (y_t-i - m_zt-i) + e_t``, states (z_t..z_t-p).

    Parameters
    ----------
    layout : Layout
        With ``n_ar`` = p >= 1.
    data : Observations
        p rows longer than the T rows that are scored.
    """

    def __init__(self, layout: Layout, data: Observations) -> None:
        self.layout, self.data = layout, data
        self.digits = np.array(
            list(itertools.product(range(layout.n_regimes), repeat=layout.n_ar + 1))
        )
        self.n_states = len(self.digits)
        self.n_rows = data.y.shape[1] - layout.n_ar

    def _lagged(self, rows: Array, lag: int) -> Array:
        begin = self.layout.n_ar - lag
        return rows[..., begin : begin + self.n_rows]

    def _deviations(self, parts: Parts, data: Observations) -> Array:
        """y_t - x_t' b_k, (K, S, T + p)."""
        location = np.matmul(parts.coef, data.columns)
        return (data.y[:, None] - location).transpose(1, 0, 2)

    def score_rows(self, parts: Parts, rows: NDArray[np.intp]) -> Scored:
        """Log-densities (M, S, T) of all starts, as for regressions."""
        layout, p, k = self.layout, self.layout.n_ar, self.layout.n_regimes
        data = self.data.take(rows)
        deviation = self._deviations(parts, data)
        residual = np.empty((k, *(k,) * p, deviation.shape[1], self.n_rows))
        pulled: Array | None = None
        for now in range(k):
            if layout.switching_ar or pulled is None:
                pulled = np.zeros(())
                for lag in range(p, 0, -1):  # the oldest digit varies fastest
                    term = -parts.ar[:, now, lag - 1, None] * self._lagged(deviation, lag)
                    pulled = term.reshape(k, *(1,) * (p - lag), *term.shape[1:]) + pulled
            np.add(self._lagged(deviation[now], 0), pulled, out=residual[now])
        residual = residual.reshape(self.n_states, *residual.shape[-2:])
        variance = parts.variance.T[self.digits[:, 0], :, None]
        dof = parts.dof.T[self.digits[:, 0], :, None] if layout.student else None
        scored = _log_density(residual, variance, dof)
        if data.observed is not None:
            np.multiply(scored.log_density, data.observed, out=scored.log_density)
        return scored

    def score(
        self,
        parts: Parts,
        scored: Scored,
        smoothed: Array,
        rows: NDArray[np.intp],
        variance_prior: float,
    ) -> dict[str, Array]:
        """Score of the log-likelihood by each block of parameters."""
        layout, p, k = self.layout, self.layout.n_ar, self.layout.n_regimes
        data = self.data.take(rows)
        deviation, variance = self._deviations(parts, data), parts.variance
        mass = smoothed if data.observed is None else smoothed * data.observed
        pull = mass * scored.residual
        if scored.weight is not None:
            pull *= scored.weight
        shape = (k,) * (p + 1)
        square = (
            np.einsum("mst,mst->ms", pull, scored.residual).reshape(k, -1, pull.shape[1]).sum(1)
        )
        count = mass.sum(axis=2).reshape(k, -1, pull.shape[1]).sum(1)
        square, count = square.T, count.T
        pull = pull.reshape(*shape, *pull.shape[1:])
        pull /= variance.T.reshape(k, *(1,) * p, -1, 1)
        ratio = square / variance
        by_variance = 0.5 * (ratio - count + variance_prior * (1.0 / variance - 1.0))
        by_variance *= (variance - VARIANCE_FLOOR) / variance

        by_ar = np.empty((pull.shape[-2], k, p))
        by_coef = np.zeros((pull.shape[-2], k, len(layout.columns)))
        for lag in range(p + 1):
            others = tuple(axis for axis in range(1, p + 1) if axis != lag)
            pair = pull.sum(axis=others)  # (now, then, S, T); (now, S, T) at lag 0
            if lag:
                by_ar[..., lag - 1] = (pair * self._lagged(deviation, lag)).sum(axis=(1, 3)).T
                pair = -(pair * parts.ar[..., lag - 1].T[:, None, :, None]).sum(axis=0)
            columns = self._lagged(data.columns, lag)
            by_coef += np.matmul(pair.transpose(1, 0, 2), columns.transpose(0, 2, 1))
        score = {
            "coef": layout.collapse_coef(by_coef),
            "ar": layout.collapse(by_ar, layout.switching_ar),
            "variance": layout.collapse(by_variance, layout.switching_variance),
        }
        if scored.log_excess is not None:
            total = np.einsum("mst,mst->ms", mass, scored.log_excess)
            total = total.reshape(k, -1, total.shape[1]).sum(1).T
            by_dof = _dof_score(parts.dof, count, total, ratio)
            score["dof"] = layout.collapse(by_dof, layout.switching_dof)
        return score


Emission = RegressionEmission | MeanAdjustedEmission
