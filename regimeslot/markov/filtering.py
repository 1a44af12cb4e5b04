"""Filtering rows of a fitted model, all at once or as they arrive.

The state carried from row to row is the distribution over (composite) states, so new rows cost the
same whether one or a thousand came before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.chain import viterbi
from regimeslot.markov.emission import Observations
from regimeslot.markov.layout import Layout
from regimeslot.markov.objective import Objective
from regimeslot.markov.scan import Filtered, forward_filter

__all__ = ["FilteredRows", "composite_transition", "filter_rows", "most_probable_path"]

Array = NDArray[np.float64]

_BLOCK = 4_000_000  # entries of a band that is held at once


@dataclass(frozen=True)
class FilteredRows:
    """Filter output for a stretch of rows; K regimes, M (composite) states, time last.

    Attributes
    ----------
    log_likelihood : (T,)
    predicted, filtered : (K, T)
    state : (M,)
        Filtered distribution over states at the last row.
    """

    log_likelihood: Array
    predicted: Array
    filtered: Array
    state: Array


def composite_transition(layout: Layout, transition: Array) -> Array:
    """Transition between composite states, (M, M) or (M, M, T), from that between regimes."""
    k, p = layout.n_regimes, layout.n_ar
    if not p:
        return transition
    n_states = k ** (p + 1)
    previous = np.repeat(np.arange(n_states), k)
    regime = np.tile(np.arange(k), n_states)
    following = regime * k**p + previous // k
    wide = np.zeros((n_states, n_states, *transition.shape[2:]))
    wide[previous, following] = transition[previous // k**p, regime]
    return wide


def _rows(
    layout: Layout, data: Observations, theta: Array, given: Array | None
) -> tuple[Array, Array, Array]:
    """Log-densities (M, T), regime transitions (K, K[, T]) and the first state's distribution."""
    objective = Objective(layout, data, 1, initial=given)
    parts = layout.unpack(theta[None])
    transition = objective.transition(parts)
    first = objective.first_state(objective.first_regime(parts, transition), transition)[:, 0]
    scored = objective.emission.score_rows(parts, np.zeros(1, np.intp))
    matrix = (
        transition[0, ..., 0] if transition.shape[3] == 1 else transition[0, ..., layout.n_ar :]
    )
    return scored.log_density[:, 0], matrix, first


def filter_rows(
    layout: Layout,
    data: Observations,
    theta: Array,
    *,
    given: Array | None = None,
    state: Array | None = None,
) -> FilteredRows:
    """Filter the rows of ``data``.

    Parameters
    ----------
    layout : Layout
    data : Observations
        One series.
    theta : (n,)
    given : (K,), optional
        Given distribution of the first row of the sample.
    state : (M,), optional
        Filtered distribution at the row before the first one; default the sample starts here.

    Returns
    -------
    FilteredRows
    """
    density, matrix, first = _rows(layout, data, theta, given)
    n_states, n_rows = density.shape
    k = layout.n_regimes
    block = max(1, _BLOCK // (n_states * n_states))
    pieces: list[Filtered] = []
    wide = composite_transition(layout, matrix) if matrix.ndim == 2 else None
    for begin in range(0, n_rows, block):
        rows = slice(begin, min(begin + block, n_rows))
        here = wide if wide is not None else composite_transition(layout, matrix[..., rows])
        last = pieces[-1].filtered[:, -1] if pieces else state
        if last is not None:
            first = last @ (here if here.ndim == 2 else here[..., 0])
        pieces.append(forward_filter(density[:, rows], here, first))
    predicted = np.concatenate([piece.predicted for piece in pieces], axis=1)
    filtered = np.concatenate([piece.filtered for piece in pieces], axis=1)
    return FilteredRows(
        np.concatenate([piece.log_likelihood for piece in pieces]),
        predicted.reshape(k, -1, n_rows).sum(axis=1),
        filtered.reshape(k, -1, n_rows).sum(axis=1),
        filtered[:, -1].copy(),
    )


def most_probable_path(
    layout: Layout, data: Observations, theta: Array, given: Array | None = None
) -> NDArray[np.intp]:
    """Viterbi path of regimes (T,)."""
    density, matrix, first = _rows(layout, data, theta, given)
    path = viterbi(density, composite_transition(layout, matrix), first)
    return path // layout.n_regimes**layout.n_ar
