import numpy as np
import pytest

import regimeslot.markov.objective as module
from regimeslot.markov.emission import Observations
from regimeslot.markov.layout import Layout
from regimeslot.markov.objective import Objective, Priors

SPECIFICATIONS = {
    "common variance": {},
    "switching variance": {"switching_variance": True},
    "common slope": {"switching": (True, False)},
    "t": {"student": True, "switching_variance": True},
    "t, dof per regime": {"student": True, "switching_dof": True},
    "AR(2)": {"n_ar": 2},
    "AR(1), all switching": {"n_ar": 1, "switching_ar": True, "switching_variance": True},
    "AR(1), common mean": {"n_ar": 1, "switching": (False, True), "student": True},
    "varying transitions": {"n_tvtp": 2},
    "varying transitions, AR(2)": {"n_tvtp": 2, "n_ar": 2},
    "estimated start": {"estimated_initial": True},
}


def problem(k, specification, *, n_rows=24, missing=False, n_series=1, seed=0):
    rng = np.random.default_rng(seed)
    layout = Layout(k, ("const", "x"), **{"switching": (True, True), **specification})
    total = n_rows + layout.n_ar
    y = rng.standard_normal((n_series, total))
    columns = np.stack([np.ones((n_series, total)), rng.standard_normal((n_series, total))], 1)
    observed = (rng.random((n_series, n_rows)) > 0.2).astype(float) if missing else None
    moves = None
    if layout.n_tvtp:
        moves = np.stack([np.ones(total), rng.standard_normal(total)])
    theta = 0.5 * rng.standard_normal((3, layout.n_params))
    return layout, Observations(y, columns, observed, moves), theta


def differences(objective, theta, step=1e-6):
    rows = []
    for unit in np.eye(theta.shape[1]):
        above = objective.value_and_gradient(theta + step * unit)[0]
        rows.append((above - objective.value_and_gradient(theta - step * unit)[0]) / (2 * step))
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("name", SPECIFICATIONS)
@pytest.mark.parametrize("k", [2, 3])
def test_score_is_the_derivative(name, k):
    layout, data, theta = problem(k, SPECIFICATIONS[name])
    for priors in (Priors(), Priors(3.0, 1.0, 2.0)):
        objective = Objective(layout, data, 3, priors=priors)
        _, gradient = objective.value_and_gradient(theta)
        np.testing.assert_allclose(gradient, differences(objective, theta), rtol=0, atol=2e-7)


@pytest.mark.parametrize("name", ["t", "AR(2)", "common slope"])
def test_score_with_missing_rows(name):
    layout, data, theta = problem(2, SPECIFICATIONS[name], missing=True)
    objective = Objective(layout, data, 3)
    _, gradient = objective.value_and_gradient(theta)
    np.testing.assert_allclose(gradient, differences(objective, theta), rtol=0, atol=2e-7)


def test_score_of_stretches_is_the_sum_over_stretches():
    layout, data, theta = problem(2, SPECIFICATIONS["switching variance"], n_rows=40)
    together = Objective(layout, data, 3, n_segments=4)
    value, gradient = together.value_and_gradient(theta)
    alone = np.zeros(3)
    for part in range(4):
        rows = slice(10 * part, 10 * part + 10)
        piece = Observations(data.y[:, rows], data.columns[:, :, rows])
        alone += Objective(layout, piece, 3).value_and_gradient(theta)[0]
    np.testing.assert_allclose(value, alone, rtol=1e-13)
    np.testing.assert_allclose(gradient, differences(together, theta), rtol=0, atol=2e-7)


@pytest.mark.parametrize("name", ["switching variance", "t", "AR(2)"])
def test_many_series_equal_single_ones(name):
    layout, data, theta = problem(2, SPECIFICATIONS[name], n_series=3, n_rows=600)
    value, gradient = Objective(layout, data, 3).value_and_gradient(theta)
    for s in range(3):
        one = Observations(data.y[s : s + 1], data.columns[s : s + 1])
        alone = Objective(layout, one, 1).value_and_gradient(theta[s : s + 1])
        np.testing.assert_allclose(value[s], alone[0][0], rtol=1e-12)
        np.testing.assert_allclose(gradient[s], alone[1][0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["AR(2)", "varying transitions, AR(2)"])
def test_both_scans_of_the_mean_adjusted_form_agree(name, monkeypatch):
    layout, data, theta = problem(2, SPECIFICATIONS[name], n_rows=70)
    found = []
    for wide in (0, 10**9):
        monkeypatch.setattr(module, "_WIDE", wide)
        found.append(Objective(layout, data, 3).value_and_gradient(theta))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-13)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0, atol=1e-9)


def test_vector_and_parts_are_inverse():
    layout, _, theta = problem(3, SPECIFICATIONS["varying transitions, AR(2)"])
    np.testing.assert_array_equal(layout.pack(layout.unpack(theta)), theta)
