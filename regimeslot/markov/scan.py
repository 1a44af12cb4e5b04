"""Forward filter and backward smoother of a finite Markov chain, as two banded triangular solves.

Stack the unnormalised filtered probabilities of all rows into one vector. The recursion
``alpha_t(j) = sum_i alpha_{t-1}(i) P_t(i, j) f_t(j)`` is then a unit lower triangular system of
bandwidth ``2K - 1``, and BLAS (``dtbsv``) solves it without a Python loop over
rows. The smoother is the transposed system. All terms are positive, so nothing cancels. Rows are
solved in chunks that are renormalised, because products of densities underflow.

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
_TINY = 1e-280


@dataclass(frozen=True, eq=False)
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

    transition: Array
    initial: Array
    starts: NDArray[np.intp]
    _density: Array  # (K, T), each row's largest is one
    _log_top: Array  # (T,) log of what the densities were divided by
    _alpha: Array  # (K, T) filtered probabilities times _mass
    _mass: Array  # (T,) product of c_t since the head of the chunk
    _heads: NDArray[np.intp]  # first rows of the chunks
    _band: Array  # (T, K, 2K)

    @cached_property
    def log_likelihood(self) -> Array:
        """Log p(y_t | y_<t), (T,)."""
        with np.errstate(divide="ignore"):
            growth = np.log(self._mass)
        increment = growth.copy()
        increment[1:] -= growth[:-1]
        increment[self._heads] = growth[self._heads]
        increment += self._log_top
        return increment

    @cached_property
    def filtered(self) -> Array:
        """p(z_t | y_<=t), (K, T)."""
        return self._alpha / self._mass

    @cached_property
    def predicted(self) -> Array:
        """p(z_t | y_<t), (K, T)."""
        previous = np.empty_like(self._alpha)
        previous[:, 1:] = self.filtered[:, :-1]
        previous[:, self.starts] = 0.0
        if self.transition.ndim == 2:
            predicted = self.transition.T @ previous
        else:
            predicted = np.einsum("it,ijt->jt", previous, self.transition)
        predicted[:, self.starts] = self.initial
        return predicted


@dataclass(frozen=True, eq=False)
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
    density = log_density - top
    np.exp(density, out=density)
    negative = -density

    band = np.zeros((n_rows, n_states, 2 * n_states))
    for j in range(n_states):
        for i in range(n_states):
            place = band[:, j, n_states - 1 - j + i]
            np.multiply(negative[j], transition[i, j], out=place)
    band[rows, :, : 2 * n_states - 1] = 0.0  # a first row does not see the row before it
    right = np.zeros((n_rows, n_states))
    right[rows] = (prior * density[:, rows]).T

    chunk = _CHUNK
    while True:
        heads = np.union1d(np.arange(0, n_rows, chunk), rows)
        solution = right.copy()
        _solve_forward(band, solution, heads, rows)
        alpha = np.ascontiguousarray(solution.T)
        mass = alpha.sum(axis=0)
        if mass.min() > _TINY or chunk == 1:
            break
        chunk = max(1, chunk // 8)
    return Filtered(transition, prior, rows, density, top, alpha, mass, heads, band)


def weighted_smoother(result: Filtered, row_weights: Array | None = None) -> Smoothed:
    """Exact gradient of ``sum_t omega_t log p(y_t | y_<t)``, by one backward solve.

    With ``omega = 1`` Fisher's identity makes the gradient the smoothed probabilities. For other
    row weights the backward recursion gets a forcing term,
    ``gamma_t = (P_{t+1} diag(f_{t+1}) / c_{t+1}) gamma_{t+1} + (omega_t - omega_{t+1}) 1``.
    Divided by the filter's running mass, it is the filter's system transposed.

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
    alpha, mass, starts, heads = result._alpha, result._mass, result.starts, result._heads
    n_states, n_rows = alpha.shape
    forcing = np.ones(n_rows) if row_weights is None else row_weights.copy()
    weights = forcing.copy()
    forcing[:-1] -= weights[1:]
    last_rows = np.append(starts[1:], n_rows) - 1
    forcing[last_rows] = weights[last_rows]
    forcing /= mass
    solution = np.repeat(forcing, n_states).reshape(n_rows, n_states)
    _solve_backward(result._band, solution, heads, starts, mass)

    beta = np.ascontiguousarray(solution.T)
    previous = np.empty_like(alpha)
    previous[:, 1:] = alpha[:, :-1]
    previous[:, heads[1:]] /= mass[heads[1:] - 1]  # the head of a chunk saw a normalised row
    previous[:, starts] = 0.0
    later = result._density * beta
    if result.transition.ndim == 2:
        joint = result.transition * (previous @ later.T)
    else:
        joint = result.transition * previous[:, None]
        joint *= later
    return Smoothed(alpha * beta, joint, later[:, starts])


def _first_rows(starts: object, n_rows: int) -> NDArray[np.intp]:
    rows = np.zeros(1, np.intp) if starts is None else np.asarray(starts, np.intp)
    if rows.size == 0 or rows[0] != 0 or np.any(np.diff(rows) <= 0) or rows[-1] >= n_rows:
        raise InvalidInputError(
            f"starts must be increasing row numbers from 0 and below {n_rows}, got {rows!r}"
        )
    return rows


def _solve(band: Array, rows: Array, begin: int, end: int, *, transposed: bool) -> None:
    """Solve rows ``begin`` to ``end`` of the system in place."""
    n_states = rows.shape[1]
    dtbsv(
        2 * n_states - 1,
        band[begin:end].reshape(-1, 2 * n_states).T,
        rows[begin:end].reshape(-1),
        trans=0 if transposed else 1,
        diag=1,
        overwrite_x=1,
    )


def _into(band: Array, row: int) -> Array:
    """M_t(i, j) = P_t(i, j) f_t(j) of one row, read back from the band."""
    n_states = band.shape[1]
    return np.array(
        [[-band[row, j, n_states - 1 - j + i] for j in range(n_states)] for i in range(n_states)]
    )


def _solve_forward(
    band: Array, rows: Array, heads: NDArray[np.intp], starts: NDArray[np.intp]
) -> None:
    """Chunk by chunk; a chunk that goes on starts from the row before, normalised."""
    first = set(starts.tolist())
    ends = [*heads[1:].tolist(), len(rows)]
    for begin, end in zip(heads.tolist(), ends, strict=True):
        if begin not in first:
            before = rows[begin - 1]
            mass = before.sum()  # zero where the chunk before underflowed: the caller shortens it
            rows[begin] = (before / mass if mass > 0.0 else before) @ _into(band, begin)
        _solve(band, rows, begin, end, transposed=False)


def _solve_backward(
    band: Array,
    rows: Array,
    heads: NDArray[np.intp],
    starts: NDArray[np.intp],
    mass: Array,
) -> None:
    """Chunk by chunk from the end; what comes from the next chunk is scaled to this one's mass."""
    first = set(starts.tolist())
    ends = [*heads[1:].tolist(), len(rows)]
    for begin, end in zip(reversed(heads.tolist()), reversed(ends), strict=True):
        if end < len(rows) and end not in first:
            rows[end - 1] += _into(band, end) @ rows[end] / mass[end - 1]
        _solve(band, rows, begin, end, transposed=True)
