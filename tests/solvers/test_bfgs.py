import numpy as np
from scipy.optimize import rosen, rosen_der

from regimeslot.solvers.bfgs import minimize_bfgs


def test_finds_the_minimum_of_rosenbrock_from_the_usual_start():
    start = np.array([-1.2, 1.0, -0.5, 0.8])

    def objective(x):
        return float(rosen(x)), rosen_der(x)

    found = minimize_bfgs(objective, start, 1e-3 * np.eye(4), tolerance=1e-14, max_iterations=500)
    np.testing.assert_allclose(found.x, 1.0, rtol=0, atol=1e-6)


def test_a_newton_metric_solves_a_quadratic_in_one_step():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    hessian = root @ root.T + np.eye(5)
    center = rng.standard_normal(5)

    def objective(x):
        away = x - center
        return 1.0 + 0.5 * float(away @ hessian @ away), hessian @ away

    found = minimize_bfgs(objective, np.zeros(5), np.linalg.inv(hessian), tolerance=1e-12)
    np.testing.assert_allclose(found.x, center, rtol=0, atol=1e-10)
    assert found.converged
    assert found.n_evaluations <= 3


def test_an_infinite_value_shortens_the_step():
    def objective(x):
        if x[0] >= 1.0:
            return np.inf, np.zeros(1)
        return float(-np.log(1 - x[0]) - 2 * np.log(1 + x[0])), np.array(
            [1 / (1 - x[0]) - 2 / (1 + x[0])]
        )

    found = minimize_bfgs(objective, np.array([0.0]), 10.0 * np.eye(1), tolerance=1e-12)
    np.testing.assert_allclose(found.x, 1.0 / 3.0, rtol=0, atol=1e-6)


def test_an_indefinite_metric_is_replaced():
    def objective(x):
        return float(x @ x), 2 * x

    found = minimize_bfgs(objective, np.array([3.0, -2.0]), -np.eye(2), tolerance=1e-12)
    np.testing.assert_allclose(found.x, 0.0, rtol=0, atol=1e-5)


def test_a_wrong_gradient_is_reported_as_not_converged():
    def objective(x):
        return float(x @ x), -2 * x

    found = minimize_bfgs(objective, np.ones(2), np.eye(2))
    assert not found.converged
    np.testing.assert_allclose(found.x, 1.0)
