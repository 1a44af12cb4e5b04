"""Measures of forgetting against hand-made numbers, and the simple models of a stream."""

import numpy as np
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.continual import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    prequential,
    re_entry_error,
    score_matrix,
)
from regimeslot.evaluation.continual_baselines import (
    AdwinReset,
    ExperienceReplay,
    LastValue,
    RecursiveLeastSquares,
)

R = np.array([[0.9, 0.1, 0.2], [0.5, 0.8, 0.3], [0.7, 0.6, 1.0]])


def test_measures_of_a_matrix_by_hand():
    assert average_accuracy(R) == pytest.approx((0.7 + 0.6 + 1.0) / 3, abs=1e-15)
    assert backward_transfer(R) == pytest.approx(((0.7 - 0.9) + (0.6 - 0.8)) / 2, abs=1e-15)
    assert forward_transfer(R, [0.0, 0.05, 0.1]) == pytest.approx((0.05 + 0.2) / 2, abs=1e-15)
    assert forgetting(R) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.6)) / 2, abs=1e-15)


def test_forgetting_counts_from_the_best_not_from_the_first():
    scores = [[0.5, 0, 0], [0.9, 0.5, 0], [0.6, 0.5, 0.5]]
    assert forgetting(scores) == pytest.approx((0.3 + 0.0) / 2, abs=1e-15)


@pytest.mark.parametrize("measure", [average_accuracy, backward_transfer, forgetting])
def test_a_matrix_that_is_not_square_is_refused(measure):
    with pytest.raises(InvalidInputError, match="one row and one column each"):
        measure(np.zeros((2, 3)))


def test_one_task_has_nothing_to_forget():
    with pytest.raises(InvalidInputError, match="at least 2 tasks"):
        forgetting([[1.0]])
    with pytest.raises(InvalidInputError, match="baseline score for each of 3"):
        forward_transfer(R, [0.0])


def test_re_entry_counts_returns_only():
    regimes = list("AAABBBAABBBB")
    loss = [9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 9, 9]
    assert re_entry_error(loss, regimes, window=2) == pytest.approx((1 + 2 + 3 + 4) / 4, abs=0)
    assert re_entry_error(loss, regimes, window=3) == pytest.approx((1 + 2 + 3 + 4 + 9) / 5, abs=0)
    assert np.isnan(re_entry_error([1, 2], ["A", "B"]))
    with pytest.raises(InvalidInputError, match="one loss and one regime"):
        re_entry_error([1, 2], ["A"])
    with pytest.raises(InvalidInputError, match="window"):
        re_entry_error([1, 2], ["A", "B"], window=0)


def test_prequential_forecasts_do_not_see_the_future():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 2)), rng.standard_normal(60)
    whole = prequential(RecursiveLeastSquares(0.95), X, y)
    np.testing.assert_array_equal(
        prequential(RecursiveLeastSquares(0.95), X[:40], y[:40]), whole[:40]
    )
    with pytest.raises(InvalidInputError, match="one y per row"):
        prequential(LastValue(), X, y[:-1])


def laws(seed=0, n=120):
    rng = np.random.default_rng(seed)
    tasks = []
    for coef in ([1.0, 2.0], [-2.0, 1.0]):
        X = rng.standard_normal((n, 2))
        tasks.append((X, X @ coef + 0.1 * rng.standard_normal(n)))
    return tasks


def test_pooled_least_squares_forgets_and_the_score_matrix_shows_it():
    tasks = laws()
    test = [(X[:5], y[:5]) for X, y in laws(1)]
    scores, before = score_matrix(RecursiveLeastSquares(), tasks, test)
    assert scores.shape == (2, 2)
    assert scores[0, 0] > 0.95
    assert forgetting(scores) > 0.3
    assert backward_transfer(scores) == pytest.approx(-forgetting(scores), abs=1e-12)
    assert before.max() < 0.9


def test_testing_leaves_the_model_as_it_was():
    tasks = laws()
    model = RecursiveLeastSquares()
    score_matrix(model, tasks, laws(1), skip=3)
    plain = RecursiveLeastSquares()
    for X, y in tasks:
        prequential(plain, X, y)
    np.testing.assert_array_equal(model.coef, plain.coef)


def test_faults_of_a_score_matrix_are_named():
    tasks = laws()
    with pytest.raises(InvalidInputError, match="got 2 and 1"):
        score_matrix(LastValue(), tasks, tasks[:1])
    with pytest.raises(InvalidInputError, match="skip"):
        score_matrix(LastValue(), tasks, tasks, skip=119)
    with pytest.raises(InvalidInputError, match="that vary"):
        score_matrix(LastValue(), tasks[:1], [(np.zeros((9, 2)), np.ones(9))])


@pytest.mark.parametrize("factor", [1.0, 0.97])
def test_recursive_least_squares_is_the_batch_solution(factor):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((80, 3)), rng.standard_normal(80)
    model = RecursiveLeastSquares(factor, delta=10.0)
    prequential(model, X, y)
    Z = np.column_stack([X, np.ones(80)])
    weights = factor ** np.arange(79, -1, -1)
    ridge = factor**80 / 10.0 * np.eye(4)
    batch = np.linalg.solve(Z.T @ (weights[:, None] * Z) + ridge, Z.T @ (weights * y))
    np.testing.assert_allclose(model.coef, batch, rtol=1e-9, atol=1e-12)


def test_recursive_least_squares_refuses_a_factor_above_one():
    with pytest.raises(InvalidInputError, match="factor"):
        RecursiveLeastSquares(1.1)


def test_replay_learns_a_law_and_its_reservoir_is_uniform():
    X, y = laws(n=1500)[0]
    model = ExperienceReplay(capacity=100)
    prequential(model, X, y)
    np.testing.assert_allclose(model.coef, [1.0, 2.0, 0.0], rtol=0, atol=0.1)
    kept = np.array([np.flatnonzero((row[:2] == X).all(1))[0] for row in model.rows])
    assert len(set(kept)) == 100
    assert 550 < kept.mean() < 950  # 750 +- 4.6 standard deviations


def test_adwin_resets_when_the_law_changes():
    pytest.importorskip("river")
    model = AdwinReset()
    for X, y in laws(n=600):
        prequential(model, X, y)
    assert model.resets >= 1
    np.testing.assert_allclose(model.model.coef[:2], [-2.0, 1.0], rtol=0, atol=0.2)
