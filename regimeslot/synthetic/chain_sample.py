"""Rows of a Markov chain of regimes, and the filter that knows its parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from regimeslot.markov.scan import forward_filter
from regimeslot.synthetic.sample import Array, SyntheticSample, gaussian_or_t

__all__ = ["chain_sample"]


def chain_sample(
    name: str,
    X: Array,
    means: Array,
    scale: Array,
    transition: Array,
    parameters: Mapping[str, object],
    rng: np.random.Generator,
    seed: int,
    *,
    dof: float = np.inf,
    owner: NDArray[np.intp] | None = None,
    regimes: NDArray[np.intp] | None = None,
    initial: Array | None = None,
) -> SyntheticSample:
    """Draw regimes (unless given) and y, and run the filter that knows the parameters.

    ``owner`` maps each state of the chain to the regime it belongs to, where they differ.
    """
    n = len(X)
    K = means.shape[1]
    owner = np.arange(K) if owner is None else owner
    initial = _stationary(transition) if initial is None else initial
    if regimes is None:
        regimes = owner[_draw_states(transition, initial, n, rng)]
    scales = np.tile(scale, (n, 1))
    rows = np.arange(n)
    y = means[rows, regimes] + scales[rows, regimes] * gaussian_or_t(rng, n, dof)
    density = _log_density((y[:, None] - means) / scales, dof) - np.log(scales)
    states = forward_filter(density.T[owner], transition, initial).predicted
    predicted = np.stack([states[owner == k].sum(0) for k in range(K)], axis=1)
    return SyntheticSample(
        name=name,
        X=X,
        y=y,
        regimes=regimes,
        parameters={**parameters, "transition": transition, "initial": initial, "dof": dof},
        seed=seed,
        means=means,
        scales=scales,
        predicted_probs=predicted / predicted.sum(1, keepdims=True),
        dof=dof,
    )


def _draw_states(
    transition: Array, initial: Array, n: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    cumulative = transition.cumsum(1)
    uniform = rng.random(n)
    last = len(initial) - 1
    states = np.empty(n, dtype=np.intp)
    states[0] = min(int(np.searchsorted(initial.cumsum(), uniform[0], side="right")), last)
    for t in range(1, n):
        row = cumulative[states[t - 1]] if transition.ndim == 2 else cumulative[states[t - 1], :, t]
        states[t] = min(int(np.searchsorted(row, uniform[t], side="right")), last)
    return states


def _stationary(transition: Array) -> Array:
    """Long-run distribution; of the mean transition matrix where it varies."""
    P = transition if transition.ndim == 2 else transition.mean(2)
    K = len(P)
    A = np.vstack([P.T - np.eye(K), np.ones(K)])
    solution = np.linalg.lstsq(A, np.append(np.zeros(K), 1.0), rcond=None)[0]
    return np.clip(solution, 0, None) / np.clip(solution, 0, None).sum()


def _log_density(u: Array, dof: float) -> Array:
    if np.isinf(dof):
        return np.asarray(-0.5 * (u**2 + np.log(2 * np.pi)))
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(dof * np.pi)
    return np.asarray(constant - (dof + 1) / 2 * np.log1p(u**2 / dof))
