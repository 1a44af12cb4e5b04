import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.errors import InvalidInputError
from regimeslot.markov import (
    elapsed_durations,
    expected_durations,
    simulate_states,
    state_forecast,
    stationary_distribution,
    viterbi,
)
from regimeslot.markov.chain import check_transition, stationary_score


def chain(seed, k, shape=()):
    return np.random.default_rng(seed).dirichlet(np.ones(k), (*shape, k))


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_stationary_distribution_is_kept_by_the_chain(seed, k):
    matrix = chain(seed, k, (3,))
    found = stationary_distribution(matrix)
    np.testing.assert_allclose(np.einsum("si,sij->sj", found, matrix), found, rtol=1e-12, atol=0)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-13)


def test_stationary_distribution_keeps_relative_accuracy_of_rare_regimes():
    matrix = np.array([[1 - 1e-11, 1e-11], [0.25, 0.75]])
    np.testing.assert_allclose(stationary_distribution(matrix)[1], 4e-11, rtol=1e-9)


def test_stationary_score_is_the_derivative():
    rng = np.random.default_rng(1)
    logits, pull = rng.standard_normal((3, 3)), rng.standard_normal(3)

    def value(logits):
        weights = np.exp(logits)
        return pull @ stationary_distribution(weights / weights.sum(axis=1, keepdims=True))

    matrix = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    score = stationary_score(matrix, stationary_distribution(matrix), pull)
    for i, j in itertools.product(range(3), repeat=2):
        step = np.zeros((3, 3))
        step[i, j] = 1e-6
        numeric = (value(logits + step) - value(logits - step)) / 2e-6
        np.testing.assert_allclose(score[i, j], numeric, rtol=0, atol=1e-8)


@pytest.mark.parametrize("varying", [False, True])
def test_viterbi_is_the_best_of_all_paths(varying):
    rng = np.random.default_rng(2)
    k, n_rows = 3, 6
    for _ in range(20):
        density = rng.standard_normal((k, n_rows))
        matrix = chain(rng.integers(1_000_000), k)
        matrix = np.repeat(matrix[..., None], n_rows, axis=2)
        if varying:
            matrix = np.moveaxis(chain(rng.integers(1_000_000), k, (n_rows,)), 0, 2)
        first = rng.dirichlet(np.ones(k))

        def score(path, density=density, matrix=matrix, first=first):
            total = np.log(first[path[0]]) + density[path[0], 0]
            for t in range(1, n_rows):
                total += np.log(matrix[path[t - 1], path[t], t]) + density[path[t], t]
            return total

        best = max(itertools.product(range(k), repeat=n_rows), key=score)
        found = viterbi(density, matrix if varying else matrix[..., 0], first)
        assert tuple(found) == best


def test_viterbi_of_many_chains_equals_single_runs():
    rng = np.random.default_rng(3)
    density = rng.standard_normal((2, 4, 30))
    matrices = np.moveaxis(chain(0, 2, (4,)), 0, 2)
    first = rng.dirichlet(np.ones(2), 4).T
    together = viterbi(density, matrices, first)
    for s in range(4):
        alone = viterbi(density[:, s], matrices[..., s], first[:, s])
        np.testing.assert_array_equal(together[s], alone)


def test_state_forecast_is_the_matrix_power():
    matrix, now = chain(4, 3), np.array([0.2, 0.3, 0.5])
    ahead = state_forecast(now, matrix, 5)
    np.testing.assert_allclose(ahead[4], now @ np.linalg.matrix_power(matrix, 5), rtol=1e-13)
    varying = np.stack([matrix, np.eye(3)], axis=2)
    np.testing.assert_allclose(state_forecast(now, varying, 2)[1], ahead[0], rtol=1e-13)


def test_simulated_paths_have_the_chain_s_frequencies():
    matrix = np.array([[0.9, 0.1], [0.3, 0.7]])
    path = simulate_states(matrix, np.array([0.75, 0.25]), 50, np.random.default_rng(5), 4000)
    np.testing.assert_allclose((path == 0).mean(axis=0), 0.75, rtol=0, atol=0.03)
    stays = (path[:, 1:] == 0)[path[:, :-1] == 0].mean()
    np.testing.assert_allclose(stays, 0.9, rtol=0, atol=0.005)


def test_durations():
    np.testing.assert_allclose(expected_durations(np.array([[0.9, 0.1], [0.5, 0.5]])), [10, 2])
    assert elapsed_durations(np.array([1, 1, 0, 1])).tolist() == [1, 2, 1, 1]
    assert elapsed_durations(np.array([], dtype=int)).size == 0


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.array([[0.5, 0.6], [0.5, 0.5]])])
def test_a_matrix_that_is_not_stochastic_is_refused(matrix):
    with pytest.raises(InvalidInputError):
        check_transition(matrix)
