"""The fast two-state form against the banded reference, and against finite differences."""

import numpy as np
import pytest

from regimeslot.markov.scan import forward_filter, weighted_smoother
from regimeslot.markov.two_state import is_well_scaled, two_state_gradient


def problem(spread, persistence, n_rows=1500, seed=0):
    rng = np.random.default_rng(seed)
    log_density = spread * rng.standard_normal((2, n_rows))
    logits = np.array([[-0.5], [0.5]]) * persistence + rng.standard_normal(n_rows)
    to_one = 1.0 / (1.0 + np.exp(-logits))
    return log_density, to_one, rng.random(n_rows), np.array([0, 1, 400])


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0, 400.0])
@pytest.mark.parametrize("persistence", [-11.0, -3.0, 0.0, 0.1, 3.0, 8.0, 11.0])
def test_equals_the_banded_scan(spread, persistence):
    log_density, to_one, weights, starts = problem(spread, persistence)
    assert is_well_scaled(to_one, persistence)
    transition = np.stack([1.0 - to_one, to_one], axis=1)
    result = forward_filter(log_density, transition, np.full(2, 0.5), starts)
    smoothed = weighted_smoother(result, weights)
    found = two_state_gradient(log_density, to_one, weights, starts)
    by_logit = smoothed.joint[:, 1] - transition[:, 1] * smoothed.joint.sum(axis=1)
    np.testing.assert_allclose(found.log_likelihood, result.log_likelihood, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.weights, smoothed.weights, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.by_logit, by_logit, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("to_one", "persistence"),
    [
        (np.array([[1e-9], [0.9]]), 5.0),  # next to certain
        (np.array([[0.1], [0.9]]), 13.0),  # the pivots would lose digits
        (np.array([[0.9], [0.1]]), -13.0),
    ],
)
def test_chains_outside_its_range_are_left_to_the_reference(to_one, persistence):
    assert not is_well_scaled(to_one, persistence)


def test_densities_at_any_level_do_not_overflow():
    log_density, to_one, weights, starts = problem(1.0, 3.0)
    plain = two_state_gradient(log_density, to_one, weights, starts)
    shifted = two_state_gradient(log_density - 5000.0, to_one, weights, starts)
    np.testing.assert_allclose(shifted.log_likelihood + 5000.0, plain.log_likelihood, atol=1e-8)
    np.testing.assert_allclose(shifted.weights, plain.weights, rtol=0, atol=1e-10)
