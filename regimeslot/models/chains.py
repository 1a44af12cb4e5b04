"""Interleaved chains: how a model with memory forecasts targets that span several rows.

With horizon h the target of row s is whole only h rows later, so that the state of row t may
have seen row t - h but not row t - 1. The rows t, t - h, t - 2h ... never overlap: they form a
Markov chain of their own, whose step is h rows. The h chains are laid end to end for the filter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.scan import forward_filter

__all__ = ["Chains"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chains:
    """Rows in chain order.

    Attributes
    ----------
    horizon : int
    order : (n,) row numbers with each chain behind the last
    starts : (S,) where each chain begins in that order; S is at most the horizon

    Examples
    --------
    >>> chains = Chains.of(5, horizon=2)
    >>> chains.order.tolist(), chains.starts.tolist()
    ([0, 2, 4, 1, 3], [0, 3])
    """

    horizon: int
    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, n_rows: int, horizon: int) -> Chains:
        """Chains of ``n_rows`` rows."""
        chains = [np.arange(first, n_rows, horizon) for first in range(min(horizon, n_rows))]
        lengths = [len(chain) for chain in chains]
        return cls(horizon, np.concatenate(chains), np.cumsum([0, *lengths[:-1]]))

    def back(self, values: Array) -> Array:
        """Values (K, n) in chain order, as (n, K) in row order."""
        rows = np.empty((len(self.order), len(values)))
        rows[self.order] = values.T
        return rows

    def filter(self, log_density: Array, transition: Array, state: Array) -> tuple[Array, Array]:
        """Predicted probabilities (n, K) of new rows, and the state (h, K) after them.

        Parameters
        ----------
        log_density : (K, n)
            In chain order; zero in every slot where the target is unknown.
        transition : (K, K) or (K, K, n)
            In chain order.
        state : (h, K)
            Filtered probabilities that the next h rows follow from.
        """
        into = transition if transition.ndim == 2 else transition[:, :, self.starts]
        before = state[: len(self.starts)].T
        initial = into.T @ before if transition.ndim == 2 else np.einsum("ks,kjs->js", before, into)
        result = forward_filter(log_density, transition, initial, self.starts)
        return self.back(result.predicted), self.after(result.filtered, state)

    def after(self, filtered: Array, state: Array) -> Array:
        """State (h, K) after these rows, given filtered probabilities (K, n) in chain order."""
        ends = np.append(self.starts[1:], len(self.order)) - 1
        state = state.copy()
        state[: len(ends)] = filtered[:, ends].T
        return np.roll(state, -(len(self.order) % self.horizon), axis=0)
