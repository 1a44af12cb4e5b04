import numpy as np
from scipy.optimize import rosen, rosen_der

from regimeslot.solvers.batched_bfgs import maximise


def valley(theta, rows):
    return -np.array([rosen(t) for t in theta]), -np.array([rosen_der(t) for t in theta])


def test_every_problem_of_a_batch_reaches_its_optimum():
    rng = np.random.default_rng(0)
    starts = rng.uniform(-2, 2, (6, 4))
    found = maximise(valley, starts, np.repeat(np.eye(4)[None] * 0.01, 6, axis=0), tolerance=1e-12)
    near = np.abs(found.gradient).max(axis=1) < 1e-4
    assert near.all()
    assert not found.retired.any()


def test_batch_equals_single_runs():
    rng = np.random.default_rng(1)
    starts, inverse = rng.uniform(-2, 2, (4, 3)), np.repeat(np.eye(3)[None], 4, axis=0)
    together = maximise(valley, starts, inverse)
    for s in range(4):
        alone = maximise(valley, starts[s : s + 1], inverse[:1])
        np.testing.assert_allclose(together.theta[s], alone.theta[0], rtol=1e-9, atol=1e-9)


def test_starts_of_one_problem_that_meet_are_retired():
    starts = np.array([[1.2, 1.2], [0.8, 0.9], [-1.0, 1.0]])
    inverse = np.repeat(np.eye(2)[None] * 0.01, 3, axis=0)
    found = maximise(valley, starts, inverse, groups=np.zeros(3, int), tolerance=1e-10)
    assert found.retired.sum() == 2
    np.testing.assert_allclose(found.theta[~found.retired], 1.0, rtol=1e-4)


def test_a_step_into_nonsense_is_shortened():
    def log_barrier(theta, rows):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(theta[:, 0]) - theta[:, 0], 1 / theta - 1

    found = maximise(log_barrier, np.array([[3.0]]), np.array([[[10.0]]]), tolerance=1e-12)
    np.testing.assert_allclose(found.theta, 1.0, rtol=1e-5)


def test_a_flat_problem_leaves_the_batch_and_says_so():
    def saturating(theta, rows):
        return -np.exp(-theta[:, 0]), np.exp(-theta)

    found = maximise(
        saturating, np.array([[0.0]]), np.ones((1, 1, 1)), tolerance=1e-15, least_progress=1e-3
    )
    assert found.flat[0]
    assert found.evaluations < 20
    assert -1e-3 < found.value[0] <= 0
    assert 0 < found.gain[0] < 1e-3
