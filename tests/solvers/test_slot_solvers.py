"""The slot solvers' parts against brute force on a few rows."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from regimeslot.solvers import slot_design
from regimeslot.solvers.slot_design import Design, log_softmax, softmax
from regimeslot.solvers.slot_em import SlotState, log_density, refine_em, responsibilities
from regimeslot.solvers.slot_gate import gate_newton, mixture
from regimeslot.solvers.slot_low_rank import low_rank_slots
from regimeslot.solvers.slot_penalty import SlotPenalty, estimate_pooling
from regimeslot.solvers.slot_polish import cooperative_loss, levenberg_marquardt, scale_gate
from regimeslot.solvers.slot_rmsprop import train_rmsprop
from regimeslot.solvers.slot_units import Units


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 2)), rng.standard_normal((60, 2))
    design = Design.build(X, Y, rng.uniform(0.2, 2, 60))
    W, V = rng.standard_normal((3, 2, 3)), rng.standard_normal((3, 3))
    return design, SlotState(W, V - V[-1], rng.uniform(0.5, 2, (3, 2)))


def no_penalty(K=3, D=3, **changes):
    settings = {"ridge": np.zeros(D), "pooling": np.zeros(D), "n_slots": K, "jitter": 1e-9}
    return SlotPenalty(**{**settings, **changes})


@pytest.mark.parametrize("cached", [10**7, 100])
def test_grams_and_cross_by_hand(case, monkeypatch, cached):
    monkeypatch.setattr(slot_design, "_CACHED_PRODUCTS", cached)
    design, _ = case
    C = np.random.default_rng(1).standard_normal((4, 60))
    for m, gram in enumerate(design.grams(C)):
        weight = C[m] * design.weights
        np.testing.assert_allclose(gram, (design.Z.T * weight) @ design.Z, rtol=1e-10, atol=1e-12)
        expected = (design.Y.T * weight) @ design.Z
        np.testing.assert_allclose(design.cross(C)[m], expected, rtol=1e-10, atol=1e-12)


def test_softmax_survives_any_scale():
    U = np.array([[1e9, 0.0], [0.0, -1e9]])
    np.testing.assert_array_equal(softmax(U, 1), [[1, 0], [1, 0]])
    np.testing.assert_allclose(np.exp(log_softmax(U / 1e9, 1)), softmax(U / 1e9, 1), rtol=1e-12)


def test_log_density_by_hand(case):
    design, state = case
    pi, F, _ = mixture(design, state.W, state.V)
    t = 5
    terms = [
        pi[k, t]
        * np.prod(
            np.exp(-0.5 * (design.Y[t] - F[k, :, t]) ** 2 / state.variance[k])
            / np.sqrt(2 * np.pi * state.variance[k])
        )
        for k in range(3)
    ]
    assert log_density(design, state)[t] == pytest.approx(np.log(sum(terms)), rel=1e-12)
    share = responsibilities(design, state)[0][:, t]
    np.testing.assert_allclose(share, terms / np.sum(terms), rtol=1e-10, atol=0)


def test_gate_newton_reaches_a_stationary_point(case):
    design, state = case
    targets = responsibilities(design, state)[0]
    V = gate_newton(design, targets, state.V, iterations=30, ridge=0.5)
    gradient = ((targets - softmax(V @ design.Z.T, 0)) * design.weights) @ design.Z - 0.5 * V
    np.testing.assert_allclose(gradient[:-1], 0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_em_never_lowers_the_likelihood(case, shared):
    design, state = case
    values = []
    for _ in range(15):
        state = refine_em(design, state, iterations=1, penalty=no_penalty(), shared_variance=shared)
        values.append(state.log_likelihood)
    assert np.all(np.diff(values) > -1e-4)
    assert values[-1] > values[0]


def test_levenberg_marquardt_reaches_a_stationary_point(case):
    design, state = case
    penalty = no_penalty(ridge=np.array([3.0, 3.0, 0.5]), pooling=np.array([1.0, 2.0, 0.0]))
    before = cooperative_loss(design, state, penalty)
    found = levenberg_marquardt(design, state, penalty, iterations=500, tolerance=1e-15)
    assert cooperative_loss(design, found, penalty) < before

    def loss(theta):
        moved = SlotState(theta[:18].reshape(3, 2, 3), theta[18:].reshape(3, 3), found.variance)
        return cooperative_loss(design, moved, penalty)

    theta = np.concatenate([found.W.ravel(), found.V.ravel()])
    np.testing.assert_allclose(approx_fprime(theta, loss, 1e-7), 0, rtol=0, atol=2e-2)


def test_scaling_the_gate_never_raises_the_error(case):
    design, state = case
    none = no_penalty()
    scaled = cooperative_loss(design, scale_gate(design, state), none)
    assert scaled <= cooperative_loss(design, state, none)


def test_pooled_solution_minimises_its_penalty():
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((3, 20, 2))
    Y = rng.standard_normal((3, 20, 1))
    grams = np.einsum("kni,knj->kij", Z, Z)
    cross = np.einsum("kno,kni->koi", Y, Z)
    penalty = no_penalty(D=2, ridge=np.array([0.5, 0.0]), pooling=np.array([2.0, 7.0]), jitter=0)
    W = penalty.solve(grams, cross)

    def loss(flat):
        W = flat.reshape(3, 1, 2)
        errors = Y - np.einsum("koi,kni->kno", W, Z)
        return (errors**2).sum() + penalty.value(W)

    np.testing.assert_allclose(approx_fprime(W.ravel(), loss, 1e-7), 0, rtol=0, atol=1e-4)


def test_pooling_strength_is_noise_over_spread():
    """Ten slots whose first coefficient varies with variance 4 around its base; the second not."""
    rng = np.random.default_rng(5)
    K, n, noise = 10, 400, 0.5
    W = np.column_stack([2 * rng.standard_normal(K), np.full(K, 1.0)])
    Z = rng.standard_normal((K, n, 2))
    Y = np.einsum("kd,knd->kn", W, Z) + noise * rng.standard_normal((K, n))
    grams, cross = np.einsum("kni,knj->kij", Z, Z), np.einsum("kn,kni->ki", Y, Z)[:, None]
    start = no_penalty(K=K, D=2, jitter=1e-6)
    found = estimate_pooling(start, grams, cross, np.array([noise**2]), iterations=200).pooling
    spread = W[:, 0].var(ddof=1)
    assert found[0] == pytest.approx(noise**2 / spread, rel=0.05)
    assert found[1] > 100


def test_pooling_strength_of_means_is_the_analysis_of_variance():
    """Balanced one-way layout: REML gives (MSB - sigma^2) / n between-slot variance exactly."""
    rng = np.random.default_rng(8)
    K, n = 12, 4
    y = rng.standard_normal((K, 1)) + rng.standard_normal((K, n))
    between = n * y.mean(1).var(ddof=1)
    start = no_penalty(K=K, D=1, jitter=0.0)
    sums = np.full((K, 1, 1), float(n)), y.sum(1)[:, None, None]
    found = estimate_pooling(start, *sums, np.ones(1), iterations=500).pooling[0]
    assert found == pytest.approx(n / (between - 1), rel=0.01)


def test_low_rank_recovers_slots_that_share_a_direction():
    rng = np.random.default_rng(6)
    truth = rng.standard_normal((1, 4)) + rng.standard_normal((5, 1, 1)) * rng.standard_normal(4)
    Z = rng.standard_normal((5, 30, 4))
    grams = np.einsum("kni,knj->kij", Z, Z)
    cross = np.einsum("koj,kij->koi", truth, grams)
    np.testing.assert_allclose(low_rank_slots(grams, cross, 1), truth, rtol=0, atol=1e-8)
    pooled = low_rank_slots(grams, cross, 0)
    expected = np.linalg.solve(grams.sum(0), cross.sum(0)[0])
    np.testing.assert_allclose(pooled[:, 0], np.tile(expected, (5, 1)), rtol=1e-10, atol=1e-12)


def test_units_go_there_and_back():
    rng = np.random.default_rng(7)
    X, Y = 5 + 3 * rng.standard_normal((50, 3)), 100 * rng.standard_normal((50, 2))
    units = Units.of(X, Y, np.ones(50))
    V = rng.standard_normal((2, 4))
    state = SlotState(rng.standard_normal((2, 2, 4)), V - V[-1], np.ones((2, 2)))
    back = units.from_raw(units.to_raw(state))
    np.testing.assert_allclose(back.W, state.W, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(back.V, state.V, rtol=1e-10, atol=1e-12)
    raw = units.to_raw(state)
    design = units.design(X, Y, np.ones(50))
    by_state = mixture(design, state.W, state.V)[2].T * units.y_scale + units.y_mean
    pi = softmax(X @ raw.gate_coef.T + raw.gate_intercept, 1)
    by_raw = np.einsum("nk,kpd,nd->np", pi, raw.coef, X) + pi @ raw.intercept
    np.testing.assert_allclose(by_raw, by_state, rtol=1e-9, atol=1e-9)


def test_plain_training_weights_rows():
    import torch

    torch.manual_seed(0)
    X = torch.ones(200, 1)
    Y = torch.cat([torch.zeros(100, 1), torch.ones(100, 1)])
    weights = torch.cat([torch.full((100,), 0.5), torch.full((100,), 1.5)])
    layer = torch.nn.Linear(1, 1)
    losses = train_rmsprop(layer, X, Y, weights=weights, epochs=40, learning_rate=0.01)
    assert losses[-1] < losses[0] or losses[0] < 0.2
    assert float(layer(X[:1]).detach()) == pytest.approx(0.75, abs=0.08)
