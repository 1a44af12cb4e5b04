"""Posterior of many chains at once: the banded scan with buffers kept between evaluations.

An estimation asks the same question hundreds of times at new parameters, for several starts or
several series of one length. :class:`BatchScan` answers it for all of them in two triangular
solves over one band matrix: forwards with its transpose, backwards with the matrix itself. Nothing
is normalised row by row. Within a chunk of rows alpha_t . beta_t is constant, so scaling beta once
at the chunk's end makes ``alpha * beta`` the smoothed probabilities.

States may be composite (a regime and its predecessors); ``moves`` lists the transitions that exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtbsv

__all__ = ["BatchScan", "Posterior", "all_moves"]

Array = NDArray[np.float64]

_CHUNK = 256  # rows between renormalisations at first; then what the data allow
_LONGEST_CHUNK = 4096
_TINY = 1e-280
_SAFE = 300.0  # a chunk may lose this many factors of e before it is too long


def all_moves(n_states: int) -> NDArray[np.intp]:
    """Every (previous, next) pair of states, row by row.

    Examples
    --------
    >>> all_moves(2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.stack(np.divmod(np.arange(n_states**2), n_states), axis=1)


@dataclass(frozen=True)
class Posterior:
    """What one scan of S chains of T rows found out; M states, time last.

    Attributes
    ----------
    log_likelihood : (S,)
        log p(y_1..T) of each chain.
    smoothed : (M, S, T)
        p(z_t | all y).
    forward : (M, S, T)
        Filtered probabilities up to one factor per row.
    backward : (M, S, T)
        ``density * beta``: what ``forward`` of the row before and the transition probability
        are multiplied by to give the joint probability of a move into the row.
    """

    log_likelihood: Array
    smoothed: Array
    forward: Array
    backward: Array

    def filtered(self) -> Array:
        """p(z_t | y_<=t), (M, S, T)."""
        return self.forward / self.forward.sum(axis=0)

    def move_totals(self, transition: Array) -> Array:
        """Expected number of moves i -> j after the first row, (M, M, S).

        ``transition`` is (M, M, S), the constant matrix of each chain.
        """
        before = self.forward[:, :, :-1].transpose(1, 0, 2)
        after = self.backward[:, :, 1:].transpose(1, 2, 0)
        return transition * np.matmul(before, after).transpose(1, 2, 0)

    def move_probabilities(self, transition: Array) -> Array:
        """p(z_t-1, z_t | all y) for a matrix per row (M, M, S, T); zero at first rows."""
        joint = np.zeros(transition.shape)
        np.multiply(
            self.forward[:, None, :, :-1], self.backward[None, :, :, 1:], out=joint[..., 1:]
        )
        joint *= transition
        return joint


class BatchScan:
    """Filter and smoother for up to S chains of T rows over M states, in reused buffers.

    Parameters
    ----------
    n_states, n_chains, n_rows : int
        M, S and T.
    moves : (n_moves, 2) int
        The (previous, next) pairs of states between which a transition is possible.

    Examples
    --------
    >>> import numpy as np
    >>> scan = BatchScan(2, 1, 2, all_moves(2))
    >>> stay = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> density = np.log([[0.5, 0.1], [0.5, 0.4]])[:, None]
    >>> found = scan(density, stay.reshape(4, 1), np.array([[0.6], [0.4]]))
    >>> round(float(np.exp(found.log_likelihood[0])), 3)
    0.107
    """

    def __init__(self, n_states: int, n_chains: int, n_rows: int, moves: NDArray[np.intp]) -> None:
        self.n_states, self.n_rows = n_states, n_rows
        self._moves = [(int(i), int(j)) for i, j in moves]
        self._band = np.zeros((n_chains, n_rows, n_states, 2 * n_states))
        self._chunk = _CHUNK

    def __call__(self, log_density: Array, probability: Array, initial: Array) -> Posterior:
        """Scan the chains.

        Parameters
        ----------
        log_density : (M, S, T)
            Overwritten. Equal in every state where the observation is missing.
        probability : (n_moves, S) or (n_moves, S, T)
            Transition probability of each move; row t holds the moves into row t.
        initial : (M, S)
            Distribution of the states at the first row.

        Returns
        -------
        Posterior
        """
        n_chains = log_density.shape[1]
        top = log_density.max(axis=0)
        log_density -= top
        density = np.exp(log_density, out=log_density)
        moves = -(probability[:, :, None] if probability.ndim == 2 else probability[:, :, 1:])
        band = self._band[:n_chains]
        diagonal = self.n_states - 1
        for (i, j), move in zip(self._moves, moves, strict=True):
            target = band[:, 1:, j, diagonal + i - j]
            np.multiply(density[j, :, 1:], move, out=target)
        right = np.zeros((n_chains, self.n_rows, self.n_states))
        right[:, 0] = (initial * density[:, :, 0]).T
        while True:
            alpha = right.copy()
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                ends, masses = self._forward(alpha, self._chunk)
            if masses.min() > _TINY or self._chunk == 1:
                break
            self._chunk = max(1, self._chunk // 8)
        beta = self._backward(ends, masses, n_chains)
        forward = np.ascontiguousarray(alpha.transpose(2, 0, 1))
        smoothed = np.ascontiguousarray(beta.transpose(2, 0, 1))
        backward = np.multiply(density, smoothed, out=density)
        smoothed *= forward
        self._chunk = self._next_chunk(float(masses.min()))
        inner = ends % self.n_rows != 0  # chunks whose next row was filtered from a normalised row
        chains, heads = np.divmod(ends[inner], self.n_rows)
        backward[:, chains, heads] /= masses[inner]
        with np.errstate(divide="ignore"):
            logs = np.bincount((ends - 1) // self.n_rows, np.log(masses), n_chains)
        return Posterior(logs + top.sum(axis=1), smoothed, forward, backward)

    def _next_chunk(self, least: float) -> int:
        """As many rows as lose no more than half the floating-point range at the last rate."""
        if least <= _TINY:
            return 1
        rate = -np.log(min(least, 0.5)) / min(self._chunk, self.n_rows)
        return int(np.clip(_SAFE / rate, 1, _LONGEST_CHUNK))

    def _forward(self, alpha: Array, chunk: int) -> tuple[NDArray[np.intp], Array]:
        """Solve forwards in place; the flat rows where chunks and chains end, and their masses."""
        size, n_rows = self.n_states, self.n_rows
        n_flat = alpha.shape[0] * n_rows
        flat = alpha.reshape(-1)
        if n_rows <= chunk:
            self._solve(flat, 0, n_flat, transposed=1)
            return np.arange(n_rows, n_flat + 1, n_rows), alpha[:, -1].sum(axis=1)
        steps = np.minimum(np.arange(chunk, n_rows + chunk, chunk), n_rows)
        ends = (np.arange(0, n_flat, n_rows)[:, None] + steps).ravel()
        masses = np.empty(ends.size)
        begin = 0
        for number, end in enumerate(ends.tolist()):
            if begin % n_rows:  # start from the row before, normalised
                begin -= 1
                flat[begin * size : (begin + 1) * size] /= masses[number - 1]
            self._solve(flat, begin, end, transposed=1)
            masses[number] = flat[(end - 1) * size : end * size].sum()
            begin = end
        inner = ends % n_rows != 0
        alpha.reshape(-1, size)[ends[inner] - 1] *= masses[inner, None]
        return ends, masses

    def _backward(self, ends: NDArray[np.intp], masses: Array, n_chains: int) -> Array:
        """Solve backwards; beta such that ``(alpha * beta).sum()`` is one in every row."""
        size, n_rows = self.n_states, self.n_rows
        beta = np.zeros((n_chains, n_rows, size))
        flat = beta.reshape(-1)
        if ends.size == n_chains:
            beta[:, -1] = (1.0 / masses)[:, None]
            self._solve(flat, 0, n_chains * n_rows, transposed=0)
            return beta
        begins = [0, *ends[:-1].tolist()]
        for number in range(ends.size - 1, -1, -1):
            begin, end = begins[number], int(ends[number])
            last = slice((end - 1) * size, end * size)
            flat[last] = (flat[last] if end % n_rows else 1.0) / masses[number]
            self._solve(flat, begin - 1 if begin % n_rows else begin, end, transposed=0)
        return beta

    def _solve(self, flat: Array, begin: int, end: int, *, transposed: int) -> None:
        size = self.n_states
        system = self._band.reshape(-1, 2 * size)[begin * size : end * size].T
        dtbsv(
            2 * size - 1,
            system,
            flat[begin * size : end * size],
            trans=transposed,
            diag=1,
            overwrite_x=1,
        )
