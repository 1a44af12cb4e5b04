"""Banded scan: every path enumerated, gradients by differences, chunks of any length."""

import itertools

import numpy as np
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.markov import scan
from regimeslot.markov.scan import forward_filter, weighted_smoother


def problem(n_states=3, n_rows=5, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n_states, n_rows)),
        rng.dirichlet(np.ones(n_states), size=(n_states, n_rows)).transpose(0, 2, 1),
        rng.dirichlet(np.ones(n_states)),
        rng.random(n_rows),
    )


def log_likelihood(log_density, transition, initial, n_rows):
    total = 0.0
    for path in itertools.product(range(len(initial)), repeat=n_rows):
        p = initial[path[0]] * np.exp(log_density[path[0], 0])
        for t in range(1, n_rows):
            p *= transition[path[t - 1], path[t], t] * np.exp(log_density[path[t], t])
        total += p
    return np.log(total)


def value(log_density, transition, initial, weights):
    n_rows = log_density.shape[1]
    each = [log_likelihood(log_density, transition, initial, n) for n in range(1, n_rows + 1)]
    return weights @ np.diff([0.0, *each])


@pytest.mark.parametrize("n_states", [1, 2, 3])
def test_filter_equals_the_sum_over_every_path(n_states):
    density, transition, initial, weights = problem(n_states)
    result = forward_filter(density, transition, initial)
    expected = value(density, transition, initial, weights)
    assert weights @ result.log_likelihood == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(result.filtered.sum(axis=0), 1.0, rtol=1e-13)
    np.testing.assert_allclose(result.predicted.sum(axis=0), 1.0, rtol=1e-13)


def test_weighted_gradient_equals_central_differences():
    density, transition, initial, weights = problem()
    smoothed = weighted_smoother(forward_filter(density, transition, initial), weights)
    step = 1e-6
    for index in np.ndindex(density.shape):
        bump = np.zeros_like(density)
        bump[index] = step
        slope = value(density + bump, transition, initial, weights)
        slope -= value(density - bump, transition, initial, weights)
        assert smoothed.weights[index] == pytest.approx(slope / (2 * step), abs=1e-8)
    for index in np.ndindex(transition.shape):
        bump = np.zeros_like(transition)
        bump[index] = step * transition[index]
        slope = value(density, transition + bump, initial, weights)
        slope -= value(density, transition - bump, initial, weights)
        assert smoothed.joint[index] == pytest.approx(slope / (2 * step), abs=1e-8)
    for k in range(3):
        bump = step * np.eye(3)[k]
        slope = value(density, transition, initial + bump, weights)
        slope -= value(density, transition, initial - bump, weights)
        assert smoothed.initial[k, 0] == pytest.approx(slope / (2 * step), abs=1e-7)


@pytest.mark.parametrize("chunk", [1, 3, 50])
@pytest.mark.parametrize("varying", [True, False])
def test_the_length_of_a_chunk_changes_nothing(monkeypatch, chunk, varying):
    density, transition, initial, weights = problem(2, 300, seed=1)
    if not varying:
        transition = transition[:, :, 0]
    starts = [0, 1, 130]

    def run():
        result = forward_filter(3.0 * density, transition, initial, starts)
        smoothed = weighted_smoother(result, weights)
        return (
            result.log_likelihood, result.filtered, result.predicted,
            smoothed.weights, smoothed.joint, smoothed.initial,
        )  # fmt: skip

    whole = run()
    monkeypatch.setattr(scan, "_CHUNK", chunk)
    for a, b in zip(run(), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_series_laid_end_to_end_do_not_see_each_other():
    density, transition, initial, _ = problem(2, 40)
    alone = [
        forward_filter(density[:, part], transition[:, :, part], initial)
        for part in (slice(0, 15), slice(15, 40))
    ]
    both = forward_filter(density, transition, initial, [0, 15])
    for name in ("log_likelihood", "filtered", "predicted"):
        together = np.concatenate([getattr(a, name) for a in alone], axis=-1)
        np.testing.assert_allclose(getattr(both, name), together, rtol=1e-12)


def test_densities_of_any_size_are_scanned():
    """Log densities that fall by thousands: the chunk shortens itself instead of underflowing."""
    rng = np.random.default_rng(0)
    density = -np.abs(rng.standard_normal((2, 2000))) * 900.0
    stay = np.array([[0.999, 0.001], [0.001, 0.999]])
    result = forward_filter(density, stay, np.full(2, 0.5))
    assert np.isfinite(result.log_likelihood).all()
    smoothed = weighted_smoother(result)
    np.testing.assert_allclose(smoothed.weights.sum(axis=0), 1.0, rtol=1e-8)


def test_wrong_starts_are_named():
    density, transition, initial, _ = problem()
    for starts in ([1], [0, 0], [0, 9], []):
        with pytest.raises(InvalidInputError, match="increasing row numbers"):
            forward_filter(density, transition, initial, starts)
