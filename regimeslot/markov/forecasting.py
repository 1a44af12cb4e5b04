"""Forecast distributions of a Markov-switching model, and simulation from it.

Without autoregression the distribution h rows ahead is a mixture of K components for every h. With
it, each path of future regimes is a component: all K^h of them while they are few, and above that
paths that agree on their latest regimes are merged into one with the same mean and variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.markov.chain import simulate_states
from regimeslot.markov.layout import Layout, transition_from_logits
from regimeslot.markov.natural import Natural

if TYPE_CHECKING:
    from regimeslot.markov.result import MarkovSwitchingResult

__all__ = [
    "Components",
    "forecast_components",
    "forecast_rows",
    "simulate_rows",
    "simulate_sample",
]

Array = NDArray[np.float64]

_MOST_PATHS = 256


@dataclass(frozen=True)
class Components:
    """Mixture components of each step, (steps, C); unused ones have weight 0."""

    weights: Array
    locations: Array
    scales: Array
    dof: Array


def _dof(natural: Natural) -> Array:
    return natural.dof if natural.dof.size else np.full(natural.sigma2.size, np.inf)


def _variance_ratio(dof: Array) -> Array:
    """Variance over squared scale, nu / (nu - 2)."""
    return 1.0 / (1.0 - 2.0 / dof)


def forecast_components(
    layout: Layout,
    natural: Natural,
    order: int,
    state: Array,
    transitions: Array,
    locations: Array,
    last: Array,
    last_locations: Array,
) -> Components:
    """Components of the forecasts 1, ..., h rows ahead.

    Parameters
    ----------
    layout : Layout
    natural : Natural
    order : int
        p, in either form.
    state : (M,)
        Filtered distribution over states at the last row.
    transitions : (K, K, h)
    locations : (K, h)
        ``x_t' b_k`` of the future rows, without lags.
    last : (p,)
        The last p observations, newest first.
    last_locations : (K, p)
        ``x_t' b_k`` of those rows; used by the mean-adjusted form.

    Returns
    -------
    Components
    """
    k, steps = locations.shape
    if order == 0:
        weights = np.empty((steps, k))
        now = state
        for h in range(steps):
            now = now @ transitions[:, :, h]
            weights[h] = now
        shape = (steps, k)
        return Components(
            weights,
            locations.T.copy(),
            np.broadcast_to(np.sqrt(natural.sigma2), shape),
            np.broadcast_to(_dof(natural), shape),
        )
    paths = _Paths.begin(layout, order, state, last, last_locations)
    found = []
    for h in range(steps):
        paths = paths.step(layout, natural, transitions[:, :, h], locations[:, h])
        found.append(paths.components(natural, first=h == 0))
        if paths.weight.size * k > _MOST_PATHS:
            paths = paths.merge()
    width = max(weight.size for weight, *_ in found)

    def padded(number: int, filler: float) -> Array:
        table = np.full((steps, width), filler)
        for h, piece in enumerate(found):
            table[h, : piece[number].size] = piece[number]
        return table

    return Components(padded(0, 0.0), padded(1, 0.0), padded(2, 1.0), padded(3, np.inf))


@dataclass(frozen=True)
class _Paths:
    """Paths of regimes with the law of the last p observations on each.

    Attributes
    ----------
    digits : (C, D) latest regimes, newest first (D = p + 1 mean-adjusted, else 1)
    weight : (C,)
    mean : (C, p), covariance : (C, p, p)
        Of the last p observations (intercept form) or their deviations from m_t-i(z_t-i).
    base : (C,) location of the newest row that the deviation is added to
    """

    digits: NDArray[np.intp]
    weight: Array
    mean: Array
    covariance: Array
    base: Array

    @classmethod
    def begin(
        cls, layout: Layout, order: int, state: Array, last: Array, last_locations: Array
    ) -> _Paths:
        k = layout.n_regimes
        if layout.n_ar:
            digits = np.stack(np.unravel_index(np.arange(state.size), (k,) * (order + 1)), axis=1)
            mean = last - last_locations[digits[:, :order], np.arange(order)]
        else:
            digits = np.arange(k)[:, None]
            mean = np.tile(last, (k, 1))
        count = state.size
        return cls(digits, state, mean, np.zeros((count, order, order)), np.zeros(count))

    def step(self, layout: Layout, natural: Natural, transition: Array, location: Array) -> _Paths:
        k, (count, p) = layout.n_regimes, self.mean.shape
        which = np.repeat(np.arange(count), k)
        regime = np.tile(np.arange(k), count)
        weight = self.weight[which] * transition[self.digits[which, 0], regime]
        lag_coef = natural.ar if layout.n_ar else natural.coef[:, -p:]
        phi = lag_coef[regime]
        companion = np.zeros((which.size, p, p))
        companion[:, 0] = phi
        companion[:, np.arange(1, p), np.arange(p - 1)] = 1.0
        mean = np.matmul(companion, self.mean[which, :, None])[..., 0]
        covariance = companion @ self.covariance[which] @ companion.transpose(0, 2, 1)
        dof = _dof(natural)
        shock = natural.sigma2 * _variance_ratio(dof)
        covariance[:, 0, 0] += shock[regime]
        if layout.n_ar:
            base = location[regime]
        else:
            mean[:, 0] += location[regime]
            base = np.zeros(which.size)
        digits = np.column_stack([regime, self.digits[which, : self.digits.shape[1] - 1]])
        return _Paths(digits.astype(np.intp), weight, mean, covariance, base)

    def components(self, natural: Natural, *, first: bool) -> tuple[Array, Array, Array, Array]:
        """Weights, locations, scales and dof; sums of t shocks keep the newest regime's dof."""
        regime = self.digits[:, 0]
        dof = _dof(natural)[regime]
        variance = self.covariance[:, 0, 0]
        if first:
            scale = np.sqrt(natural.sigma2[regime])
        else:
            scale = np.sqrt(variance / _variance_ratio(dof))
        return self.weight, self.base + self.mean[:, 0], scale, dof

    def merge(self) -> _Paths:
        """One path for each combination of latest regimes, by matching two moments."""
        kept, inverse = np.unique(self.digits, axis=0, return_inverse=True)
        group = inverse.ravel()
        weight = np.bincount(group, self.weight, len(kept)).astype(float)
        share = self.weight / np.maximum(weight[group], 1e-300)
        p = self.mean.shape[1]
        mean, covariance = np.zeros((len(kept), p)), np.zeros((len(kept), p, p))
        np.add.at(mean, group, share[:, None] * self.mean)
        apart = self.mean - mean[group]
        spread = self.covariance + apart[:, :, None] * apart[:, None, :]
        np.add.at(covariance, group, share[:, None, None] * spread)
        base = np.zeros(len(kept))
        base[group] = self.base
        return _Paths(kept, weight, mean, covariance, base)


def simulate_rows(
    layout: Layout,
    natural: Natural,
    order: int,
    path: NDArray[np.intp],
    locations: Array,
    rng: np.random.Generator,
) -> Array:
    """Observations given the path of regimes (T,), with the first p rows at their locations.

    ``locations`` is (K, T): ``x_t' b_k`` without lags.
    """
    n_rows = path.size
    dof = _dof(natural)
    noise = rng.standard_normal(n_rows)
    if natural.dof.size:
        here = dof[path]
        noise = noise * np.sqrt(here / rng.chisquare(here))
    shock = np.sqrt(natural.sigma2)[path] * noise
    level = locations[path, np.arange(n_rows)]
    if order == 0:
        return level + shock
    lag_coef = natural.ar if layout.n_ar else natural.coef[:, -order:]
    y = level + shock
    for t in range(order, n_rows):
        back = y[t - order : t][::-1]
        if layout.n_ar:
            back = back - level[t - order : t][::-1]
        y[t] = level[t] + lag_coef[path[t]] @ back + shock[t]
    return y


def forecast_rows(
    result: MarkovSwitchingResult, steps: int, exog: object, exog_tvtp: object
) -> MixtureForecast:
    """Distributions of the ``steps`` rows after the last one that a result has seen."""
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise InvalidInputError(f"steps must be an integer >= 1, got {steps!r}")
    old, natural = result.design, result.natural
    p = old.order
    last = old.y[old.y.size - p :][::-1]
    if np.isnan(last).any():
        raise InvalidInputError(
            f"a forecast needs the last {p} observations, and some are missing: fill them"
        )
    ahead = old.extend(np.zeros(steps), exog, exog_tvtp)
    table = ahead.trend_and_exog()
    locations = natural.coef[:, : len(table)] @ table
    if len(ahead.tvtp):
        transitions = transition_from_logits((natural.logits @ ahead.tvtp[:, p:])[None])[0]
    else:
        transitions = np.repeat(natural.transition[..., None], steps, axis=2)
    found = forecast_components(
        result.layout,
        natural,
        p,
        result.last_state,
        transitions,
        locations[:, p:],
        last,
        locations[:, :p][:, ::-1],
    )
    labels = tuple(f"regime {i}" for i in range(result.n_regimes)) if p == 0 else None
    return MixtureForecast(found.weights, found.locations, found.scales, found.dof, labels=labels)


def simulate_sample(
    result: MarkovSwitchingResult,
    n_rows: int,
    exog: object,
    random_state: int | np.random.Generator | None,
) -> pd.DataFrame:
    """A new sample of a fitted model: columns ``y`` and ``regime``."""
    if result.layout.n_tvtp:
        raise InvalidInputError("simulate needs constant transitions")
    rng = np.random.default_rng(random_state)
    design, natural = result.design, result.natural
    empty = replace(design, first_row=0, y=np.empty(0), exog=design.exog[:, :0], order=0)
    table = empty.extend(np.zeros(n_rows), exog, None).trend_and_exog()
    path = simulate_states(natural.transition, result.first_probs, n_rows, rng)[0]
    locations = natural.coef[:, : len(table)] @ table
    y = simulate_rows(result.layout, natural, design.order, path, locations, rng)
    return pd.DataFrame({"y": y, "regime": path})
