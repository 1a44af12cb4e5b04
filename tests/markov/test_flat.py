"""Likelihoods that are flat, or whose optimum is on a boundary, end soon and say so."""

import numpy as np
import pytest

import regimeslot.markov.objective as module
from regimeslot.markov import MarkovSwitching
from regimeslot.markov.layout import DOF_CEILING, DOF_FLOOR, dof_from_raw, raw_from_dof

STUDENT = {
    "n_regimes": 3,
    "switching_variance": True,
    "likelihood": "t",
    "switching_dof": True,
    "random_state": 0,
}


@pytest.fixture
def evaluations(monkeypatch):
    """Rows of all evaluations with a gradient: a measure of work that no clock disturbs."""
    counted = []
    original = module.Objective.value_and_gradient

    def count(self, theta, rows=None):
        counted.append(len(theta))
        return original(self, theta, rows)

    monkeypatch.setattr(module.Objective, "value_and_gradient", count)
    return counted


def two_gaussian_regimes(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    wild = np.repeat(rng.random(n_rows // 20 + 1) < 0.3, 20)[:n_rows]
    return np.where(wild, 0.02, 0.006) * rng.standard_normal(n_rows)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n_rows", [100, 550])
def test_three_student_regimes_on_two_gaussian_ones_end_soon(n_rows, seed, evaluations):
    y = two_gaussian_regimes(n_rows, seed)
    model = MarkovSwitching(**STUDENT)
    cold = model.fit(y)
    assert cold.converged
    assert any("as good as Gaussian" in note for note in cold.notes)
    assert sum(evaluations) < 1000
    evaluations.clear()
    warm = model.fit(y, start=cold.params)
    assert warm.converged
    assert warm.loglikelihood > cold.loglikelihood - 1e-3
    assert sum(evaluations) < 100


def test_degrees_of_freedom_at_the_ceiling_leave_it_when_the_data_change():
    rng = np.random.default_rng(3)
    model = MarkovSwitching(1, likelihood="t")
    before = model.fit(rng.uniform(-1, 1, 500))
    assert before.params["dof"] > 0.99 * DOF_CEILING
    assert np.isnan(before.std_errors["dof"])
    fat = rng.standard_t(4, 2000)
    warm, cold = model.fit(fat, start=before), model.fit(fat)
    np.testing.assert_allclose(warm.params["dof"], cold.params["dof"], rtol=1e-3)
    assert not any("dof" in note for note in warm.notes)


def test_a_transition_at_zero_leaves_it_when_the_data_change():
    rng = np.random.default_rng(0)
    once = np.concatenate([rng.standard_normal(200), 5 * rng.standard_normal(200)])
    model = MarkovSwitching(2, switching_variance=True, initial="estimated", random_state=0)
    before = model.fit(once)
    assert before.params["p[1->0]"] < 1e-9
    back = np.concatenate([once, once, once])
    warm, cold = model.fit(back, start=before), model.fit(back)
    np.testing.assert_allclose(warm.transition, cold.transition, rtol=0, atol=1e-5)
    assert warm.transition[1, 0] > 1e-3


def test_a_series_of_zeros_and_ones_ends_soon_and_names_its_spikes(evaluations):
    rng = np.random.default_rng(5)
    y = np.repeat(rng.random(60) < 0.3, 12).astype(float)
    with pytest.warns(match="spurious spike"):
        found = MarkovSwitching(**STUDENT).fit(y)
    assert found.converged
    assert sum(evaluations) < 1000
    assert np.isnan(found.std_errors["sigma2[0]"])


def test_a_flat_likelihood_is_said_and_stored():
    y = two_gaussian_regimes(550)
    model = MarkovSwitching(**STUDENT)
    found = model.fit(y)
    assert found.flat == any(note.startswith("flat likelihood") for note in found.notes)
    loaded = type(found).from_state(*found.to_state())
    assert loaded.notes == found.notes


def test_raw_degrees_of_freedom_are_smooth_and_invertible():
    raw = np.linspace(-10, 15, 101)
    dof = dof_from_raw(raw)
    assert (np.diff(dof) > 0).all()
    assert DOF_FLOOR < dof.min() < dof.max() < DOF_CEILING
    np.testing.assert_allclose(raw_from_dof(dof), raw, rtol=0, atol=1e-6)
    assert np.isfinite(raw_from_dof(np.array([1.0, DOF_FLOOR, DOF_CEILING, np.inf]))).all()
