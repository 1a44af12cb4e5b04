"""Pure functions on finite Markov chains: stationary law, Viterbi path, simulation, forecasts.

``transition[i, j]`` is P(state j next | state i now). A matrix per row has a third axis,
``transition[:, :, t]`` leading into row t. Batched chains have leading axes where said so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError

__all__ = [
    "check_transition",
    "elapsed_durations",
    "expected_durations",
    "simulate_states",
    "state_forecast",
    "stationary_distribution",
    "stationary_score",
    "viterbi",
]

Array = NDArray[np.float64]


def check_transition(transition: Array) -> None:
    """Refuse what is not a row-stochastic (..., K, K) matrix."""
    shape = transition.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise InvalidInputError(f"a transition matrix must be square (K, K), got shape {shape}")
    rows = transition.sum(axis=-1)
    if not (np.all(transition >= 0) and np.allclose(rows, 1.0, rtol=0, atol=1e-8)):
        raise InvalidInputError(
            "rows of a transition matrix must be probabilities that sum to 1, "
            f"got row sums from {rows.min():.6g} to {rows.max():.6g}"
        )


def stationary_distribution(transition: Array) -> Array:
    """Distribution that the chain keeps: ``pi A = pi``.

    State reduction (Grassmann, Taksar and Heyman, 1985), which subtracts nothing and so keeps
    full relative accuracy for nearly reducible chains.

    Parameters
    ----------
    transition : (..., K, K)

    Returns
    -------
    (..., K) array

    Examples
    --------
    >>> import numpy as np
    >>> stationary_distribution(np.array([[0.9, 0.1], [0.3, 0.7]]))
    array([0.75, 0.25])
    """
    reduced = np.array(transition, dtype=float)
    size = reduced.shape[-1]
    for n in range(size - 1, 0, -1):
        out = reduced[..., n, :n].sum(axis=-1)
        reduced[..., :n, n] /= np.maximum(out, 1e-300)[..., None]
        reduced[..., :n, :n] += reduced[..., :n, n, None] * reduced[..., None, n, :n]
    weights = np.ones(reduced.shape[:-1])
    for n in range(1, size):
        weights[..., n] = (weights[..., :n] * reduced[..., :n, n]).sum(axis=-1)
        # an absorbing state's weight is unbounded: rescale as we go
        weights[..., : n + 1] /= weights[..., : n + 1].max(axis=-1, keepdims=True)
    return weights / weights.sum(axis=-1, keepdims=True)


def stationary_score(transition: Array, stationary: Array, by_initial: Array) -> Array:
    """Derivative by log A of a function of the stationary distribution.

    With ``u = by_initial`` the derivative by pi, and Z = (I - A + 1 pi')^-1, moving row a of A in
    the direction d moves pi by ``pi_a d Z``.

    Parameters
    ----------
    transition : (..., K, K)
    stationary : (..., K)
    by_initial : (..., K)

    Returns
    -------
    (..., K, K) array, the derivative by the softmax logits of each row
    """
    size = transition.shape[-1]
    system = np.eye(size) - transition + stationary[..., None, :]
    pull = np.linalg.solve(system, by_initial[..., None])[..., 0]
    centred = pull[..., None, :] - (transition @ pull[..., None])
    return stationary[..., None] * transition * centred


def expected_durations(transition: Array) -> Array:
    """Mean number of rows a regime lasts, ``1 / (1 - A_kk)``, (..., K)."""
    leave = 1.0 - np.diagonal(transition, axis1=-2, axis2=-1)
    with np.errstate(divide="ignore"):
        return 1.0 / leave


def elapsed_durations(path: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many rows the present regime of each row has lasted, that row included.

    Examples
    --------
    >>> import numpy as np
    >>> elapsed_durations(np.array([0, 0, 1, 1, 1, 0]))
    array([1, 2, 1, 2, 3, 1])
    """
    path = np.asarray(path)
    if path.size == 0:
        return np.empty(0, np.intp)
    changes = np.flatnonzero(np.r_[True, path[1:] != path[:-1]])
    last_change = np.repeat(changes, np.diff(np.r_[changes, path.size]))
    return np.arange(path.size) - last_change + 1


def state_forecast(probabilities: Array, transition: Array, steps: int) -> Array:
    """State probabilities 1, ..., ``steps`` rows ahead: ``alpha A^h``.

    Parameters
    ----------
    probabilities : (..., K)
        Filtered probabilities of the last known row.
    transition : (..., K, K), or (K, K, steps) with one matrix per future row
    steps : int

    Returns
    -------
    (..., steps, K) array

    Examples
    --------
    >>> import numpy as np
    >>> state_forecast(np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.3, 0.7]]), 2)
    array([[0.9 , 0.1 ],
           [0.84, 0.16]])
    """
    size = probabilities.shape[-1]
    varying = (
        probabilities.ndim == 1
        and transition.ndim == 3
        and transition.shape[:2]
        == (
            size,
            size,
        )
    )
    ahead = []
    now = probabilities[..., None, :]
    for h in range(steps):
        now = now @ (transition[:, :, h] if varying else transition)
        ahead.append(now[..., 0, :])
    return np.stack(ahead, axis=-2) if ahead else np.empty((*probabilities.shape[:-1], 0, size))


def viterbi(log_density: Array, transition: Array, initial: Array) -> NDArray[np.intp]:
    """Most probable path of states given all rows, in log space.

    Parameters
    ----------
    log_density : (K, T) or (K, S, T)
        log p(y_t | z_t = k), of one chain or of S chains of the same length.
    transition : (K, K), (K, K, T) for one chain; (K, K, S) for S chains
    initial : (K,) or (K, S)

    Returns
    -------
    (T,) or (S, T) int array

    References
    ----------
    Viterbi (1967), IEEE Transactions on Information Theory 13.

    Examples
    --------
    >>> import numpy as np
    >>> stay = np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> viterbi(np.log([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]]), stay, np.array([0.5, 0.5]))
    array([0, 0, 0])
    """
    single = log_density.ndim == 2
    density = log_density[:, None] if single else log_density
    size, n_chains, n_rows = density.shape
    with np.errstate(divide="ignore"):
        start = np.log(initial.reshape(size, -1))
        moves = np.log(transition)
    varying = single and moves.ndim == 3
    constant = moves if moves.ndim == 3 and not varying else moves.reshape(size, size, -1)
    best = start + density[:, :, 0]
    origin = np.empty((n_rows, size, n_chains), np.intp)
    for t in range(1, n_rows):
        score = best[:, None] + (moves[:, :, t, None] if varying else constant)
        origin[t] = score.argmax(axis=0)
        best = score.max(axis=0) + density[:, :, t]
    path = np.empty((n_chains, n_rows), np.intp)
    state = best.argmax(axis=0)
    chains = np.arange(n_chains)
    for t in range(n_rows - 1, -1, -1):
        path[:, t] = state
        if t:
            state = origin[t, state, chains]
    return path[0] if single else path


def simulate_states(
    transition: Array, initial: Array, n_rows: int, rng: np.random.Generator, n_chains: int = 1
) -> NDArray[np.intp]:
    """Draw paths of states.

    Parameters
    ----------
    transition : (K, K) or (K, K, T)
    initial : (K,)
        Distribution of the first row.
    n_rows, n_chains : int
    rng : numpy Generator

    Returns
    -------
    (n_chains, n_rows) int array

    Examples
    --------
    >>> import numpy as np
    >>> simulate_states(np.eye(2), np.array([0.0, 1.0]), 3, np.random.default_rng(0))
    array([[1, 1, 1]])
    """
    draws = rng.random((n_rows, n_chains))
    upper = np.cumsum(transition, axis=1)
    path = np.empty((n_chains, n_rows), np.intp)
    last = transition.shape[0] - 1
    for t in range(n_rows):
        if t == 0:
            edges = np.broadcast_to(np.cumsum(initial), (n_chains, last + 1))
        else:
            edges = (upper[:, :, t] if upper.ndim == 3 else upper)[path[:, t - 1]]
        path[:, t] = np.minimum((draws[t, :, None] >= edges).sum(axis=1), last)
    return path
