import itertools

import numpy as np
import pytest

from regimeslot.markov import BatchScan, all_moves, forward_filter, weighted_smoother
from regimeslot.markov.lagged import LaggedScan


def enumerate_paths(density, matrix, first):
    """Likelihood, smoothed probabilities and joint moves from every path."""
    k, n_rows = density.shape
    total, smoothed, joint = 0.0, np.zeros((k, n_rows)), np.zeros((k, k, n_rows))
    for path in itertools.product(range(k), repeat=n_rows):
        weight = first[path[0]] * np.exp(density[path[0], 0])
        for t in range(1, n_rows):
            weight *= matrix[path[t - 1], path[t], t] * np.exp(density[path[t], t])
        total += weight
        for t in range(n_rows):
            smoothed[path[t], t] += weight
            if t:
                joint[path[t - 1], path[t], t] += weight
    return np.log(total), smoothed / total, joint / total


def draw(seed, k, n_chains, n_rows):
    rng = np.random.default_rng(seed)
    density = 2 * rng.standard_normal((k, n_chains, n_rows))
    matrix = np.moveaxis(rng.dirichlet(np.ones(k), (n_chains, n_rows, k)), (2, 3), (0, 1))
    return density, matrix, rng.dirichlet(np.ones(k), n_chains).T


@pytest.mark.parametrize("varying", [False, True])
def test_scan_equals_every_path_enumerated(varying):
    k, n_chains, n_rows = 3, 2, 5
    density, matrix, first = draw(0, k, n_chains, n_rows)
    if not varying:
        matrix = np.repeat(matrix[..., :1], n_rows, axis=3)
    scan = BatchScan(k, n_chains, n_rows, all_moves(k))
    moves = matrix if varying else matrix[..., 0]
    found = scan(density.copy(), moves.reshape(k * k, *moves.shape[2:]), first)
    for s in range(n_chains):
        value, smoothed, joint = enumerate_paths(density[:, s], matrix[:, :, s], first[:, s])
        np.testing.assert_allclose(found.log_likelihood[s], value, rtol=1e-13)
        np.testing.assert_allclose(found.smoothed[:, s], smoothed, rtol=0, atol=1e-14)
        expected = found.move_probabilities(matrix)[:, :, s]
        np.testing.assert_allclose(expected, joint, rtol=0, atol=1e-14)
        if not varying:
            totals = found.move_totals(matrix[..., 0])[..., s]
            np.testing.assert_allclose(totals, joint.sum(axis=2), rtol=0, atol=1e-13)


@pytest.mark.parametrize("chunk", [1, 7, 64, 4096])
def test_chunks_and_chains_change_nothing(chunk):
    k, n_chains, n_rows = 2, 3, 150
    density, matrix, first = draw(1, k, n_chains, n_rows)
    matrix = matrix[..., 0]
    scan = BatchScan(k, n_chains, n_rows, all_moves(k))
    scan._chunk = chunk
    found = scan(density.copy(), matrix.reshape(k * k, n_chains), first)
    for s in range(n_chains):
        alone = forward_filter(density[:, s], matrix[..., s], first[:, s])
        smooth = weighted_smoother(alone)
        np.testing.assert_allclose(
            found.log_likelihood[s], alone.log_likelihood.sum(), rtol=1e-12, atol=0
        )
        np.testing.assert_allclose(found.filtered()[:, s], alone.filtered, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.smoothed[:, s], smooth.weights, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            found.move_totals(matrix)[..., s], smooth.joint, rtol=1e-11, atol=1e-12
        )


def test_a_chunk_that_underflows_is_shortened():
    density = np.zeros((2, 1, 600))
    density[0, 0, ::2] = -400.0  # every other row all but excludes the regime the chain is in
    density[1, 0, 1::2] = -400.0
    matrix = np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]])
    scan = BatchScan(2, 1, 600, all_moves(2))
    found = scan(density.copy(), matrix.reshape(4, 1), np.array([[0.5], [0.5]]))
    alone = forward_filter(density[:, 0], matrix, np.array([0.5, 0.5]))
    assert np.isfinite(found.log_likelihood).all()
    np.testing.assert_allclose(found.log_likelihood, alone.log_likelihood.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.smoothed.sum(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize(("k", "p", "n_rows"), [(2, 1, 9), (2, 3, 80), (3, 2, 70)])
def test_lagged_scan_equals_the_banded_one(k, p, n_rows):
    rng = np.random.default_rng(k)
    n_states, n_chains = k ** (p + 1), 3
    previous = np.repeat(np.arange(n_states), k)
    regime = np.tile(np.arange(k), n_states)
    moves = np.stack([previous, regime * k**p + previous // k], axis=1)
    matrix = np.moveaxis(rng.dirichlet(np.ones(k), (n_chains, k)), 0, 2)
    probability = matrix[previous // k**p, regime]
    density = rng.standard_normal((n_states, n_chains, n_rows))
    first = rng.dirichlet(np.ones(n_states), n_chains).T
    banded = BatchScan(n_states, n_chains, n_rows, moves)(density.copy(), probability, first)
    walked = LaggedScan(k, p)(density.copy(), probability, first)
    np.testing.assert_allclose(walked.log_likelihood, banded.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(walked.smoothed, banded.smoothed, rtol=0, atol=1e-13)
    np.testing.assert_allclose(walked.filtered(), banded.filtered(), rtol=0, atol=1e-13)
