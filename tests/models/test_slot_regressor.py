"""The regressor: scikit-learn's own checks, exact limits, recovery, and faults."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from regimeslot.errors import InvalidInputError, RegimeWarning
from regimeslot.models.slot_regressor import SlotRegressor
from regimeslot.synthetic import make_argmax_regimes, make_no_regime, make_two_regimes


def obey(estimator, check):
    with warnings.catch_warnings():
        # Rows of pure noise leave slots unused; that is not what these checks are about.
        warnings.simplefilter("ignore", RegimeWarning)
        check(estimator)


@parametrize_with_checks([SlotRegressor(n_starts=4)])
def test_scikit_learn_contract(estimator, check):
    obey(estimator, check)


def known_departures(estimator):
    """What plain first-order training cannot do: see the checks' names."""
    if estimator.solver != "rmsprop":
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "trained in batches, in single precision",
        "check_regressors_no_decision_function": "its slots always differ: predict_proba is there",
    }


@pytest.mark.slow
@parametrize_with_checks(
    [
        SlotRegressor(),
        SlotRegressor(solver="likelihood", pooling="auto"),
        SlotRegressor("auto", n_starts=8),
        SlotRegressor(3, rank=1),
        SlotRegressor(solver="rmsprop", epochs=30),
    ],
    expected_failed_checks=known_departures,
)
def test_scikit_learn_contract_of_every_setting(estimator, check):
    obey(estimator, check)


@pytest.fixture(scope="module")
def small():
    return make_two_regimes(600, noise=0.1, n_irrelevant=2, random_state=11)


def test_original_experiment_is_solved_exactly():
    sample = make_two_regimes(11_000, random_state=21)
    model = SlotRegressor(2, random_state=0).fit(sample.X[:10_000], sample.y[:10_000])
    error = model.predict(sample.X[10_000:]) - sample.y[10_000:]
    assert np.mean(error**2) < 1e-20
    np.testing.assert_allclose(model.slot_coef_, [[1, -1], [-1, 1]], rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.slot_intercept_, 0, rtol=0, atol=1e-9)
    direction = model.gate_coef_[0] / np.linalg.norm(model.gate_coef_[0])
    np.testing.assert_allclose(direction, [-(0.5**0.5), 0.5**0.5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_random_laws_are_recovered(noise):
    sample = make_argmax_regimes(4_000, n_regimes=3, n_features=5, noise=noise, random_state=3)
    model = SlotRegressor(3, random_state=0).fit(sample.X, sample.y)
    truth = sample.parameters["coef"]
    distance = np.abs(truth[:, None] - model.slot_coef_[None]).max(2)
    assert distance.min(1).max() < 0.25
    assert sorted(distance.argmin(1)) == [0, 1, 2]


def test_prediction_is_the_mixture_of_the_stated_slots(small):
    model = SlotRegressor(2, random_state=0).fit(small.X, small.y)
    pi = model.selector_weights(small.X[:7])
    np.testing.assert_array_equal(pi, model.predict_proba(small.X[:7]))
    np.testing.assert_allclose(pi.sum(1), 1, rtol=1e-12, atol=0)
    by_hand = [
        sum(pi[t, k] * (model.slot_coef_[k] @ x + model.slot_intercept_[k]) for k in range(2))
        for t, x in enumerate(small.X[:7])
    ]
    np.testing.assert_allclose(model.predict(small.X[:7]), by_hand, rtol=1e-10, atol=1e-12)


def test_one_slot_is_linear_regression(small):
    model = SlotRegressor(1).fit(small.X, small.y)
    linear = LinearRegression().fit(small.X, small.y)
    np.testing.assert_allclose(model.predict(small.X), linear.predict(small.X), rtol=0, atol=1e-10)
    assert not hasattr(model, "predict_proba")


def test_one_slot_with_ridge_is_ridge_on_standardised_features(small):
    model = SlotRegressor(1, ridge=30.0).fit(small.X, small.y)
    peer = make_pipeline(StandardScaler(), Ridge(30.0)).fit(small.X, small.y)
    # A mean within sampling error of zero is not removed, but neither penalises the intercept.
    np.testing.assert_allclose(model.predict(small.X), peer.predict(small.X), rtol=0, atol=1e-8)


def test_pooling_limits_are_exact(small):
    linear = SlotRegressor(1).fit(small.X, small.y).predict(small.X)
    pooled = SlotRegressor(2, pooling=np.inf).fit(small.X, small.y)
    np.testing.assert_allclose(pooled.predict(small.X), linear, rtol=0, atol=1e-10)
    nearly = SlotRegressor(2, pooling=1e9, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RegimeWarning)
        nearly.fit(small.X, small.y)
    np.testing.assert_allclose(nearly.predict(small.X), linear, rtol=0, atol=1e-5)
    free = SlotRegressor(2, random_state=0).fit(small.X, small.y)
    none = SlotRegressor(2, pooling=0.0, random_state=0).fit(small.X, small.y)
    np.testing.assert_array_equal(free.slot_coef_, none.slot_coef_)


def test_estimated_pooling_agrees_where_the_laws_agree(small):
    free = SlotRegressor(2, random_state=0).fit(small.X, small.y).slot_coef_
    pooled = SlotRegressor(2, pooling="auto", random_state=0).fit(small.X, small.y).slot_coef_
    apart = np.abs(pooled[0] - pooled[1])
    assert apart[2:].max() < 0.5 * np.abs(free[0] - free[1])[2:].max()
    np.testing.assert_allclose(pooled[:, :2], [[1, -1], [-1, 1]], rtol=0, atol=0.05)


def test_pooling_beats_independent_slots_on_few_rows():
    errors = {None: [], "auto": []}
    for seed in range(4):
        sample = make_two_regimes(3_200, noise=0.1, n_irrelevant=8, random_state=400 + seed)
        truth = sample.label_oracle().mean()[200:]
        for pooling, found in errors.items():
            model = SlotRegressor(2, pooling=pooling, n_starts=4, random_state=0)
            model.fit(sample.X[:200], sample.y[:200])
            found.append(np.mean((model.predict(sample.X[200:]) - truth) ** 2))
    assert np.mean(errors["auto"]) < 0.9 * np.mean(errors[None])


def test_estimated_pooling_is_complete_where_there_is_one_law():
    sample = make_no_regime(800, random_state=6)
    model = SlotRegressor(2, pooling="auto", n_starts=4, random_state=0).fit(sample.X, sample.y)
    linear = SlotRegressor(1).fit(sample.X, sample.y)
    np.testing.assert_allclose(
        model.predict(sample.X), linear.predict(sample.X), rtol=0, atol=1e-10
    )


def test_low_rank_deviations(small):
    sample = make_argmax_regimes(1_000, n_regimes=4, n_features=5, random_state=5)
    model = SlotRegressor(4, rank=1, n_starts=8, random_state=0).fit(sample.X, sample.y)
    rows = np.column_stack([model.slot_coef_, model.slot_intercept_])
    singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert singular[1] < 1e-6 * singular[0]
    line = SlotRegressor(3, rank=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RegimeWarning)
        line.fit(small.X, small.y)
    linear = SlotRegressor(1).fit(small.X, small.y)
    np.testing.assert_allclose(line.predict(small.X), linear.predict(small.X), rtol=0, atol=1e-6)


def test_number_of_slots_by_held_out_rows():
    two = make_two_regimes(500, noise=0.1, random_state=8)
    found = SlotRegressor("auto", max_slots=3, n_starts=4, random_state=0).fit(two.X, two.y)
    assert found.n_slots_ == 2
    assert found.slot_scores_[1] > found.slot_scores_[0] + 0.5
    X = two.X
    y = X @ [0.3, 0.2] + np.random.default_rng(1).standard_normal(len(X))
    assert SlotRegressor("auto", n_starts=4, random_state=0).fit(X, y).n_slots_ == 1


def test_several_outputs_share_a_gate():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((1_500, 3))
    right = X[:, :1] > 0
    Y = np.where(right, X[:, [1, 2]], -2 * X[:, [2, 1]]) + 0.05 * rng.standard_normal((1_500, 2))
    model = SlotRegressor(2, random_state=0).fit(X, Y)
    assert model.slot_coef_.shape == (2, 2, 3)
    assert model.predict(X).shape == (1_500, 2)
    assert np.mean((model.predict(X) - Y) ** 2) < 0.02
    single = SlotRegressor(2, random_state=0).fit(X, Y[:, 0])
    column = SlotRegressor(2, random_state=0).fit(X, Y[:, :1])
    np.testing.assert_allclose(single.predict(X), column.predict(X)[:, 0], rtol=0, atol=1e-12)


def test_weights_count_rows(small):
    X, y = small.X[:300], small.y[:300]
    counts = np.random.default_rng(0).integers(0, 3, 300)
    weighted = SlotRegressor(2, random_state=0).fit(X, y, sample_weight=counts)
    repeated = SlotRegressor(2, random_state=0).fit(X.repeat(counts, 0), y.repeat(counts))
    np.testing.assert_allclose(weighted.slot_coef_, repeated.slot_coef_, rtol=0, atol=1e-5)


def test_result_does_not_depend_on_units(small):
    model = SlotRegressor(2, ridge=5.0, random_state=0).fit(small.X, small.y)
    factor = np.array([100.0, 1e-3, 7.0, 1.0])
    scaled = SlotRegressor(2, ridge=5.0, random_state=0).fit(small.X * factor, 50 * small.y)
    np.testing.assert_allclose(
        scaled.predict(small.X * factor), 50 * model.predict(small.X), rtol=0, atol=1e-4
    )


def test_same_seed_same_result_and_warm_start_keeps_identity(small):
    model = SlotRegressor(2, random_state=3, warm_start=True).fit(small.X, small.y)
    again = SlotRegressor(2, random_state=3).fit(small.X, small.y)
    np.testing.assert_array_equal(model.slot_coef_, again.slot_coef_)
    before, effort = model.slot_coef_.copy(), model.n_iter_
    model.slot_coef_ = model.slot_coef_[::-1].copy()
    model.slot_intercept_ = model.slot_intercept_[::-1].copy()
    model.gate_coef_ = model.gate_coef_[::-1].copy()
    model.gate_intercept_ = model.gate_intercept_[::-1].copy()
    model.fit(small.X, small.y)
    np.testing.assert_allclose(model.slot_coef_, before[::-1], rtol=0, atol=0.02)
    assert model.n_iter_ < effort


def test_warm_start_with_another_shape_is_refused(small):
    model = SlotRegressor(2, random_state=0, warm_start=True).fit(small.X, small.y)
    with pytest.raises(InvalidInputError, match="warm_start=False"):
        model.fit(small.X[:, :2], small.y)


def test_plain_training_improves_with_epochs_and_keeps_torch_state():
    import torch

    sample = make_two_regimes(600, random_state=1)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    short = SlotRegressor(2, solver="rmsprop", epochs=1, random_state=0).fit(sample.X, sample.y)
    model = SlotRegressor(2, solver="rmsprop", epochs=6, random_state=0).fit(sample.X, sample.y)
    assert torch.equal(state, torch.random.get_rng_state())
    linear = SlotRegressor(1).fit(sample.X, sample.y).score(sample.X, sample.y)
    assert model.score(sample.X, sample.y) > max(short.score(sample.X, sample.y), linear, 0.3)
    again = SlotRegressor(2, solver="rmsprop", epochs=6, random_state=0).fit(sample.X, sample.y)
    np.testing.assert_array_equal(model.slot_coef_, again.slot_coef_)


def test_likelihood_solver_finds_a_slot_variance():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((3_000, 2))
    loud = X[:, 0] > 0
    y = np.where(loud, X[:, 1], -X[:, 1]) + np.where(loud, 0.5, 0.05) * rng.standard_normal(3_000)
    model = SlotRegressor(2, solver="likelihood", random_state=0).fit(X, y)
    np.testing.assert_allclose(
        np.sqrt(np.sort(model.noise_variance_)), [0.05, 0.5], rtol=0.1, atol=0
    )


def test_grid_search_over_time_splits_in_a_pipeline(small):
    pipeline = make_pipeline(StandardScaler(), SlotRegressor(2, n_starts=4, random_state=0))
    grid = {"slotregressor__n_slots": [1, 2], "slotregressor__ridge": [1.0]}
    search = GridSearchCV(pipeline, grid, cv=TimeSeriesSplit(3)).fit(small.X, small.y)
    assert search.best_params_["slotregressor__n_slots"] == 2
    assert search.best_score_ > 0.9


def test_usage_is_reported(small):
    model = SlotRegressor(2, random_state=0).fit(small.X, small.y)
    np.testing.assert_allclose(
        model.usage_, model.selector_weights(small.X).mean(0), rtol=1e-12, atol=0
    )
    assert 1.9 < model.effective_slots_ <= 2
    assert 0 <= model.selector_entropy_ < 0.2


def test_a_dead_slot_is_started_again():
    from dataclasses import replace

    from regimeslot.solvers.slot_fit import SolverSettings, em_solution, pooled_state
    from regimeslot.solvers.slot_penalty import SlotPenalty
    from regimeslot.solvers.slot_units import Units

    sample = make_two_regimes(500, noise=0.1, random_state=2)
    Y, ones = sample.y[:, None], np.ones(500)
    design = Units.of(sample.X, Y, ones).design(sample.X, Y, ones)
    start = pooled_state(design, 2, np.zeros(3))
    start = replace(start, V=np.array([[0.0, 0.0, 30.0], [0.0, 0.0, 0.0]]))
    penalty = SlotPenalty(np.zeros(3), np.zeros(3), 2, 1e-7)
    rng = np.random.default_rng(0)
    state, _ = em_solution(design, 2, penalty, SolverSettings(max_iter=60), rng=rng, start=start)
    assert state.restarts >= 1
    assert state.variance.max() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "adam"}, "solver"),
        ({"n_slots": 0}, "n_slots"),
        ({"n_slots": 1.5}, "n_slots"),
        ({"n_starts": 0}, "n_starts"),
        ({"ridge": -1.0}, "ridge"),
        ({"pooling": -1.0}, "pooling"),
        ({"pooling": "some"}, "pooling"),
        ({"rank": -1}, "rank"),
        ({"rank": 1, "pooling": 1.0}, "either rank or pooling"),
        ({"solver": "rmsprop", "ridge": 1.0}, "solver='em'"),
    ],
)
def test_bad_parameters(small, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        SlotRegressor().set_params(**changes).fit(small.X, small.y)


@pytest.mark.parametrize("weights", [-np.ones(600), np.zeros(600)])
def test_bad_weights(small, weights):
    with pytest.raises(ValueError, match=r"negative|zero"):
        SlotRegressor().fit(small.X, small.y, sample_weight=weights)
