"""Scan over composite states (z_t, ..., z_t-p), row by row and for many chains at once.

The oldest regime is summed out before each step, so a row costs K^(p+1) products and not the
square of it. Python walks over the rows, numpy over states and chains: with tens of states this
beats the banded solve, whose band is as wide as the states are many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.batch import Posterior

__all__ = ["LaggedScan"]

Array = NDArray[np.float64]

_RESCALE = 32  # rows between renormalisations
_TINY = 1e-280


class LaggedScan:
    """Filter and smoother of chains whose state is the last p + 1 regimes.

    Parameters
    ----------
    n_regimes, order : int
        K >= 2 and p >= 1. States are numbered in base K, the present regime first.

    Examples
    --------
    >>> import numpy as np
    >>> scan = LaggedScan(2, 1)
    >>> half = np.full((8, 1), 0.5)
    >>> found = scan(np.zeros((4, 1, 3)), half, np.full((4, 1), 0.25))
    >>> found.smoothed[:, 0, 2]
    array([0.25, 0.25, 0.25, 0.25])
    """

    def __init__(self, n_regimes: int, order: int) -> None:
        self.n_regimes, self.order = n_regimes, order

    def __call__(self, log_density: Array, probability: Array, initial: Array) -> Posterior:
        """Scan the chains; the arguments are those of ``BatchScan``.

        Parameters
        ----------
        log_density : (M, S, T)
            Overwritten.
        probability : (M K, S) or (M K, S, T)
            Probability of each move, ordered by previous state, then next regime.
        initial : (M, S)
        """
        k = self.n_regimes
        n_states, n_chains, n_rows = log_density.shape
        top = log_density.max(axis=0)
        log_density -= top
        density = np.exp(log_density, out=log_density)
        # P(z_t | z_t-1) for state (z_t, z_t-1, ...): the move does not depend on older regimes
        moves = probability.reshape(k, n_states // k, k, n_chains, -1)[:, 0]  # (from, to, S, T|1)
        into = np.repeat(
            moves.transpose(1, 0, 2, 3).reshape(k * k, n_chains, -1), n_states // k**2, 0
        )
        steps = np.empty((n_rows, n_states, n_chains))
        np.multiply(density, into, out=steps.transpose(1, 2, 0))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rescale = _RESCALE
            while True:
                alpha, masses = self._forward(steps, initial * density[:, :, 0], rescale)
                if min(mass.min() for mass in masses) > _TINY or rescale == 1:
                    break
                rescale = max(1, rescale // 8)
            beta = self._backward(steps, masses, rescale)
            forward = np.ascontiguousarray(alpha.transpose(1, 2, 0))
            smoothed = np.ascontiguousarray(beta.transpose(1, 2, 0))
            density *= smoothed
            for number in range(1, len(masses)):
                density[:, :, number * rescale] /= masses[number - 1]
            smoothed *= forward
            log_likelihood = top.sum(axis=1) + np.log(masses).sum(axis=0)
        return Posterior(log_likelihood, smoothed, forward, density)

    def _forward(self, steps: Array, first: Array, rescale: int) -> tuple[Array, list[Array]]:
        """Unnormalised filter; masses at the last row of every ``rescale`` rows."""
        k = self.n_regimes
        n_rows, n_states, n_chains = steps.shape
        alpha = np.empty_like(steps)
        by_oldest = alpha.reshape(n_rows, n_states // k, k, n_chains)
        # lists of views, because indexing an array costs as much as a row's arithmetic
        oldest = [list(by_oldest[:, :, digit]) for digit in range(k)]
        targets = list(alpha.reshape(n_rows, k, n_states // k, n_chains))
        weights = list(steps.reshape(n_rows, k, n_states // k, n_chains))
        alpha[0] = first
        masses = []
        summed = np.empty((n_states // k, n_chains))
        for t in range(1, n_rows):
            np.add(oldest[0][t - 1], oldest[1][t - 1], out=summed)
            for digit in range(2, k):
                np.add(summed, oldest[digit][t - 1], out=summed)
            if t % rescale == 0:
                mass = summed.sum(axis=0)
                masses.append(mass)
                summed /= mass
            np.multiply(weights[t], summed, out=targets[t])
        masses.append(alpha[-1].sum(axis=0))
        return alpha, masses

    def _backward(self, steps: Array, masses: list[Array], rescale: int) -> Array:
        """Beta such that ``(alpha * beta).sum()`` is one in every row."""
        k = self.n_regimes
        n_rows, n_states, n_chains = steps.shape
        beta = np.empty_like(steps)
        targets = list(beta.reshape(n_rows, n_states // k, k, n_chains))
        following = list(beta.reshape(n_rows, k, n_states // k, n_chains))
        weights = list(steps.reshape(n_rows, k, n_states // k, n_chains))
        beta[-1] = 1.0 / masses[-1]
        ahead = np.empty((k, n_states // k, n_chains))
        first, *middle = ahead[:-1]
        head, last = first[:, None], ahead[-1][:, None]
        for t in range(n_rows - 1, 0, -1):
            np.multiply(weights[t], following[t], out=ahead)
            for regime in middle:
                np.add(first, regime, out=first)
            np.add(head, last, out=targets[t - 1])  # the same for every oldest regime
            if t % rescale == 0:
                targets[t - 1] /= masses[t // rescale - 1]
        return beta
