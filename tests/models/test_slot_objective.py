"""Slot objective against plain numpy: values by enumeration of paths, gradients by differences."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm, t

from regimeslot.models.selectors import SELECTORS
from regimeslot.models.slot_objective import Penalty, Rows, SlotObjective, SlotSpec

SELECTOR_NAMES = tuple(SELECTORS)
NO_PENALTY = Penalty(0.0, 0.0, 0.0, 0.0, 1e-300, 1e-300, 0.0, 0.0, 0.0)


def problem(selector, likelihood, n_slots, n_rows=40, starts=None, seed=0, penalty=None):
    rng = np.random.default_rng(seed)
    n_gate = 3 if SELECTORS[selector].gate and n_slots > 1 else 0
    spec = SlotSpec(n_slots, selector, likelihood, n_location=2, n_scale=3, n_gate=n_gate)
    rows = Rows(
        rng.standard_normal(n_rows),
        0.1 * rng.standard_normal(n_rows),
        rng.standard_normal((2, n_rows)),
        rng.standard_normal((3, n_rows)),
        rng.standard_normal((n_gate, n_rows)),
        rng.random(n_rows),
        starts,
    )
    objective = SlotObjective(spec, penalty or Penalty(), rows)
    theta = objective.pack(objective.start()) + 0.2 * rng.standard_normal(objective.size)
    return objective, theta


@pytest.mark.parametrize("selector", SELECTOR_NAMES)
@pytest.mark.parametrize("likelihood", ["gaussian", "t"])
@pytest.mark.parametrize("n_slots", [1, 2, 3])
def test_gradient_equals_central_differences(selector, likelihood, n_slots):
    objective, theta = problem(selector, likelihood, n_slots, starts=np.array([0, 17]))
    _, gradient = objective(theta)
    step = 1e-6
    differences = [
        (objective(theta + step * e)[0] - objective(theta - step * e)[0]) / (2 * step)
        for e in np.eye(objective.size)
    ]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


def test_gradient_where_the_log_scale_is_held_at_its_limit():
    objective, theta = problem("sticky", "t", 2)
    theta = theta + 3.0 * np.isin(np.arange(objective.size), objective.positions["scale_bias"])
    assert objective.densities(objective.unpack(theta))[1] is not None
    _, gradient = objective(theta)
    differences = [
        (objective(theta + 1e-6 * e)[0] - objective(theta - 1e-6 * e)[0]) / 2e-6
        for e in np.eye(objective.size)
    ]
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("selector", SELECTOR_NAMES)
@pytest.mark.parametrize("n_slots", [2, 3])
def test_value_equals_the_sum_over_every_path(selector, n_slots):
    objective, theta = problem(selector, "gaussian", n_slots, n_rows=5, penalty=NO_PENALTY)
    parameters, rows = objective.unpack(theta), objective.rows
    density = norm.pdf(
        rows.y,
        parameters["location_bias"][:, None] + parameters["location_slope"] @ rows.location,
        np.exp(objective.log_scales(parameters)),
    )
    memory, gate = SELECTORS[selector].memory, SELECTORS[selector].gate

    def move(row, before):
        logits = np.zeros(n_slots)
        logits[1:] = parameters["bias"][before if memory else 0]
        if gate:
            logits[1:] += parameters["slope"] @ rows.gate[:, row]
        return np.exp(logits) / np.exp(logits).sum()

    def likelihood(n_rows):
        total = 0.0
        for path in itertools.product(range(n_slots), repeat=n_rows):
            p = (1.0 / n_slots if memory else move(0, 0)[path[0]]) * density[path[0], 0]
            for row in range(1, n_rows):
                p *= move(row, path[row - 1])[path[row]] * density[path[row], row]
            total += p
        return np.log(total)

    steps = np.diff([0.0] + [likelihood(n) for n in range(1, 6)])
    np.testing.assert_allclose(-objective(theta)[0], rows.weights @ steps, rtol=1e-10, atol=1e-12)


def test_student_t_slots_are_scaled_to_their_standard_deviation():
    objective, theta = problem("static", "t", 1, penalty=NO_PENALTY)
    parameters, rows = objective.unpack(theta), objective.rows
    dof = objective.likelihood.dof(parameters["shape"][0])
    location = parameters["location_bias"][0] + parameters["location_slope"][0] @ rows.location
    scale = np.exp(objective.log_scales(parameters)[0]) * np.sqrt((dof - 2) / dof)
    expected = rows.weights @ t.logpdf(rows.y, dof, location, scale)
    np.testing.assert_allclose(-objective(theta)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("selector", SELECTOR_NAMES)
@pytest.mark.parametrize("n_slots", [2, 3, 4])
def test_reordering_slots_changes_neither_model_nor_penalty(selector, n_slots):
    objective, theta = problem(selector, "t", n_slots, seed=n_slots)
    order = np.random.default_rng(1).permutation(n_slots)
    moved = objective.reordering(order) @ theta
    assert objective(moved)[0] == pytest.approx(objective(theta)[0], rel=1e-12, abs=1e-10)
    np.testing.assert_allclose(
        objective.log_scales(objective.unpack(moved)),
        objective.log_scales(objective.unpack(theta))[order],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("selector", SELECTOR_NAMES)
def test_the_penalty_is_the_smallest_of_all_equivalent_redundant_logits(selector):
    """The relative logits' quadratic form, against a minimisation over what the data cannot see."""
    from scipy.optimize import minimize

    strengths = Penalty(0.0, 0.0, 7.0, 1.3, 0.4, 0.4, 0.0, 0.0, 0.0)
    objective, theta = problem(selector, "gaussian", 3, penalty=strengths)
    parameters = {n: np.zeros_like(v) for n, v in objective.unpack(theta).items()}
    parameters |= {n: objective.unpack(theta)[n].copy() for n in ("bias", "slope")}
    value = objective.pack(parameters) @ objective._penalty @ objective.pack(parameters)
    memory, gate = SELECTORS[selector].memory, SELECTORS[selector].gate
    slots = 3
    bias, slope = parameters["bias"], parameters["slope"]
    full = np.concatenate([np.zeros((len(bias), 1)), bias], axis=1)
    slopes = np.concatenate([np.zeros((1, slope.shape[1])), slope]) if gate else np.zeros((3, 0))

    def redundant(free):
        common, rest = free[:slots], free[slots:]  # gate biases g0, then one shift a row
        shift_rows, shift_slope = rest[: len(full)], rest[len(full) :]
        total = 7.0 * np.sum((slopes + (shift_slope if gate else 0.0)) ** 2)
        if not memory:
            return total + 1.3 * np.sum((full[0] + shift_rows[0]) ** 2)
        if not gate:
            return total + 0.4 * np.sum((full + shift_rows[:, None]) ** 2)
        return (
            total
            + 0.4 * np.sum((full - common + shift_rows[:, None]) ** 2)
            + 1.3 * np.sum(common**2)
        )

    found = minimize(redundant, np.zeros(slots + len(full) + slopes.shape[1]), tol=1e-14)
    assert value == pytest.approx(found.fun, rel=1e-6)


def test_inverse_information_is_positive_definite_and_speeds_the_fit():
    objective, theta = problem("sticky", "t", 3, n_rows=400)
    eigenvalues = np.linalg.eigvalsh(objective.inverse_information(theta))
    assert eigenvalues.min() > 0
