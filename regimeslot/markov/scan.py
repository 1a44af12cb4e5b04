"""Forward filter and backward smoother of a finite Markov chain, as two banded triangular solves.

Stack the unnormalised filtered probabilities of all rows into one vector. The recursion
``alpha_t(j) = sum_i alpha_{t-1}(i) P_t(i, j) f_t(j)`` is then a unit lower triangular system of
bandwidth ``2K - 1``, and BLAS (``dtbsv``) solves it without a Python loop over
rows. All terms are positive, so nothing cancels. Rows are solved in chunks that are
renormalised, because products of densities underflow.

Arrays keep time last: ``(K, T)`` for probabilities, ``(K, K, T)`` for transitions, where
``transition[i, j, t]`` is P(state j at t | state i at t - 1). Several independent series (or
starts, or interleaved chains) are laid behind one another, with ``starts`` naming their first rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtbsv

from regimeslot.errors import InvalidInputError

__all__ = ["Filtered", "Smoothed", "forward_filter", "weighted_smoother"]

Array = NDArray[np.float64]

_CHUNK = 512  # rows between renormalisations; shortened when a chunk underflows


@dataclass(frozen=True)
class Filtered:
    """Result of :func:`forward_filter`; every array keeps time last.

    Attributes
    ----------
    log_likelihood : (T,)
        log p(y_t | y_<t)
    filtered : (K, T)
        p(z_t | y_<=t)
    predicted : (K, T)
        p(z_t | y_<t), the only one that may enter a forecast
    """

    log_likelihood: Array
    filtered: Array
    transition: Array
    initial: Array
    starts: NDArray[np.intp]
    scaled_density: Array  # f_t(k) / c_t, what the smoother reuses

    @cached_property
    def predicted(self) -> Array:
        previous = _previous(self.filtered, self.starts)
        if self.transition.ndim == 2:
            predicted = self.transition.T @ previous
        else:
            predicted = np.einsum("it,ijt->jt", previous, self.transition)
        predicted[:, self.starts] = self.initial
        return predicted


@dataclass(frozen=True)
class Smoothed:
    """Result of :func:`weighted_smoother`.

    Attributes
    ----------
    weights : (K, T)
        Derivative of the weighted log-likelihood by each log-density. With unit row weights
        these are the smoothed probabilities p(z_t | all y).
    joint : (K, K, T) or (K, K)
        Derivative by each log transition probability, ``p(z_{t-1}, z_t | all y)`` for unit row
        weights; summed over time when the transition matrix is constant. Zero at first rows.
    initial : (K, S)
        Derivative by the initial probabilities of each of the S series.
    """

    weights: Array
    joint: Array
    initial: Array


def _first_rows(starts: object, n_rows: int) -> NDArray[np.intp]:
    rows = np.zeros(1, np.intp) if starts is None else np.asarray(starts, np.intp)
    if rows.size == 0 or rows[0] != 0 or np.any(np.diff(rows) <= 0) or rows[-1] >= n_rows:
        raise InvalidInputError(
            f"starts must be increasing row numbers from 0 and below {n_rows}, got {rows!r}"
        )
    return rows


def _solve_chunks(
    band: Array, right: Array, joint: Array, starts: NDArray[np.intp], chunk: int
) -> tuple[Array, NDArray[np.intp]]:
    """Forward solve in chunks; ``right`` holds the initial rows on entry and alpha on return."""
    n_states, n_rows = joint.shape[1:]
    bounds = np.union1d(np.arange(0, n_rows, chunk), starts)
    first = set(starts.tolist())
    stops = [*bounds[1:].tolist(), n_rows]
    for begin, end in zip(bounds.tolist(), stops, strict=True):
        head = slice(begin * n_states, (begin + 1) * n_states)
        if begin not in first:
            last = right[head.start - n_states : head.start]
            right[head] = (last / last.sum()) @ joint[:, :, begin]
        dtbsv(
            2 * n_states - 1,
            band[:, head.start : end * n_states],
            right[head.start : end * n_states],
            trans=1,
            diag=1,
            overwrite_x=1,
        )
    return right, bounds


def forward_filter(
    log_density: Array, transition: Array, initial: Array, starts: object = None
) -> Filtered:
    """Hamilton filter: predicted and filtered probabilities and the log-likelihood of each row.

    Parameters
    ----------
    log_density : (K, T)
        log p(y_t | z_t = k). A missing observation has the same value in every state (0).
    transition : (K, K) or (K, K, T)
        Row-stochastic; ``transition[:, :, t]`` leads into row t and is not used at first rows.
    initial : (K,) or (K, S)
        Predicted distribution of the first row of each series.
    starts : sequence of int, optional
        First rows of the S series that are laid behind one another; default one series.

    Returns
    -------
    Filtered

    Examples
    --------
    >>> import numpy as np
    >>> stay = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> result = forward_filter(np.log([[0.5, 0.1], [0.5, 0.4]]), stay, np.array([0.6, 0.4]))
    >>> result.predicted[:, 1].round(3)
    array([0.62, 0.38])
    """
    n_states, n_rows = log_density.shape
    rows = _first_rows(starts, n_rows)
    prior = np.broadcast_to(initial.reshape(n_states, -1), (n_states, rows.size))
    top = log_density.max(axis=0)
    density = np.exp(log_density - top)
    joint = np.multiply(transition.reshape(n_states, n_states, -1), density)

    band = np.zeros((n_rows, n_states, 2 * n_states))
    for j in range(n_states):
        for i in range(n_states):
            np.negative(joint[i, j], out=band[:, j, n_states - 1 - j + i])
    band[rows, :, : 2 * n_states - 1] = 0.0  # a first row does not see the row before it
    system = band.reshape(n_rows * n_states, -1).T
    first = np.zeros((n_rows, n_states))
    first[rows] = (prior * density[:, rows]).T

    chunk = _CHUNK
    while True:
        alpha, bounds = _solve_chunks(system, first.ravel().copy(), joint, rows, chunk)
        alpha = np.ascontiguousarray(alpha.reshape(n_rows, n_states).T)
        mass = alpha.sum(axis=0)
        if mass.min() > 1e-280 or chunk == 1:
            break
        chunk = max(1, chunk // 8)
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha /= mass
        ratio = mass.copy()
        ratio[1:] /= mass[:-1]
        ratio[bounds] = mass[bounds]
        log_likelihood = np.log(ratio) + top
        density /= ratio
    return Filtered(log_likelihood, alpha, transition, prior, rows, density)


def _previous(filtered: Array, starts: NDArray[np.intp]) -> Array:
    """Filtered probabilities of the row before; zero at first rows."""
    previous = np.empty_like(filtered)
    previous[:, 1:] = filtered[:, :-1]
    previous[:, starts] = 0.0
    return previous


def weighted_smoother(result: Filtered, row_weights: Array | None = None) -> Smoothed:
    """Exact gradient of ``sum_t omega_t log p(y_t | y_<t)``, by one backward solve.

    With ``omega = 1`` Fisher's identity makes the gradient the smoothed probabilities. For other
    row weights the backward recursion gets a forcing term,
    ``gamma_t = (P_{t+1} diag(f_{t+1}) / c_{t+1}) gamma_{t+1} + (omega_t - omega_{t+1}) 1``.

    Parameters
    ----------
    result : Filtered
    row_weights : (T,), optional
        omega, default 1.

    Returns
    -------
    Smoothed

    Examples
    --------
    >>> import numpy as np
    >>> stay = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> result = forward_filter(np.log([[0.5, 0.1], [0.5, 0.4]]), stay, np.array([0.6, 0.4]))
    >>> weighted_smoother(result).weights.sum(axis=0)
    array([1., 1.])
    """
    filtered, starts, scaled = result.filtered, result.starts, result.scaled_density
    n_states, n_rows = filtered.shape
    weights = np.ones(n_rows) if row_weights is None else row_weights
    constant = result.transition.ndim == 2
    joint = result.transition.reshape(n_states, n_states, -1) * scaled

    band = np.zeros((n_rows, n_states, 2 * n_states))
    for i in range(n_states):
        for j in range(n_states):  # reversed time: the row above is the later one
            np.negative(joint[i, j, :0:-1], out=band[1:, i, n_states - 1 - i + j])
    last_rows = np.append(starts[1:], n_rows) - 1
    band[n_rows - 1 - last_rows, :, : 2 * n_states - 1] = 0.0
    forcing = weights.copy()
    forcing[:-1] -= weights[1:]
    forcing[last_rows] = weights[last_rows]
    solution = np.repeat(forcing[::-1], n_states)
    dtbsv(
        2 * n_states - 1,
        band.reshape(n_rows * n_states, -1).T,
        solution,
        trans=1,
        diag=1,
        overwrite_x=1,
    )
    gamma = np.ascontiguousarray(solution.reshape(n_rows, n_states)[::-1].T)
    previous = _previous(filtered, starts)
    if constant:
        transitions = result.transition * (previous @ (scaled * gamma).T)
    else:
        joint *= previous[:, None]
        joint *= gamma
        transitions = joint
    return Smoothed(filtered * gamma, transitions, scaled[:, starts] * gamma[:, starts])
