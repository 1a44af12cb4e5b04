import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.models.chains import Chains
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.models.slot_view import coefficients, regime_names, slot_transition

TRUE_TRANSITION = np.array([[0.98, 0.02], [0.05, 0.95]])


def switching(n_rows=4000, seed=0):
    """Two Gaussian regimes with their known-parameter filter."""
    rng = np.random.default_rng(seed)
    state, states = 0, []
    for _ in range(n_rows):
        state = rng.choice(2, p=TRUE_TRANSITION[state])
        states.append(state)
    sigma = np.array([0.01, 0.03])
    return sigma[np.array(states)] * rng.standard_normal(n_rows), np.array(states)


def constant_slots(selector, **settings):
    return SlotForecaster(
        selector=selector, likelihood="gaussian", scale="constant", half_life=None, **settings
    )


def test_markov_slots_recover_a_markov_chain():
    y, states = switching()
    model = constant_slots("markov").fit(np.zeros((4000, 1)), y)
    np.testing.assert_allclose(
        slot_transition(model, np.zeros((1, 1))), TRUE_TRANSITION, rtol=0, atol=0.02
    )
    forecast = model.predict(np.zeros((1, 1)))
    stds = forecast.scales[0]
    np.testing.assert_allclose(stds, [0.01, 0.03], rtol=0.1)
    again = constant_slots("markov").fit(np.zeros((2000, 1)), y[:2000])
    weights = again.predict(np.zeros((2000, 1)), y[2000:]).weights
    assert np.mean(weights.argmax(axis=1) == states[2000:]) > 0.9


def test_log_likelihood_equals_statsmodels_at_the_fitted_parameters():
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    y, _ = switching(1500)
    model = constant_slots("markov").fit(np.zeros((1000, 1)), y[:1000])
    transition = slot_transition(model, np.zeros((1, 1)))
    forecast = model.predict(np.zeros((500, 1)), y[1000:])
    oracle = MarkovRegression(y[:1500], 2, trend="c", switching_variance=True)
    params = np.concatenate([transition[:, 0], forecast.locations[0], forecast.scales[0] ** 2])
    oracle.initialize_known(np.array([0.5, 0.5]))
    result = oracle.filter(params)
    predicted = result.predicted_marginal_probabilities
    # statsmodels starts from its own first row; after 1,000 rows no trace of it is left
    np.testing.assert_allclose(forecast.weights, predicted[1000:], rtol=0, atol=1e-8)


def test_slots_are_ordered_from_calm_to_wild():
    y, _ = switching(1500, seed=3)
    for seed in range(3):
        model = constant_slots("markov", n_slots=3, n_starts=3, random_state=seed).fit(
            np.zeros((1500, 1)), y
        )
        scales = model.predict(np.zeros((1, 1))).scales[0]
        assert np.all(np.diff(scales) > 0)


def test_a_refit_keeps_the_slots_identity_and_costs_less():
    y, _ = switching(2500, seed=4)
    X = np.zeros((2500, 1))
    model = constant_slots("markov", warm_start=True).fit(X[:2000], y[:2000])
    first, evaluations = model.state_.copy(), model.n_evaluations_
    model.fit(X[:2001], y[:2001])
    assert model.n_evaluations_ < evaluations
    assert np.abs(first - model.state_).max() < 0.5


def test_restandardising_gives_the_same_model(dataset):
    """New training moments change the units of the parameters, not the forecasts."""
    model = SlotForecaster(selector="sticky").fit(dataset.X[:450], dataset.y[:450])
    before = model.get_state()
    other = SlotForecaster(selector="sticky").fit(dataset.X[:500], dataset.y[:500])
    other.parameters_ = other._restandardised(before)
    other.state_ = model.state_
    X, y = dataset.X[500:], dataset.y[500:]
    mild = (np.abs((X - dataset.X[:450].mean()) / dataset.X[:450].std()) < 4).all(axis=1)
    rows = np.flatnonzero(mild.cummin())  # until the first clipped feature
    assert len(rows) > 5
    a, b = model.predict(X, y)[rows], other.predict(X, y)[rows]
    np.testing.assert_allclose(a.scales, b.scales, rtol=1e-8)
    np.testing.assert_allclose(a.locations, b.locations, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-6, atol=1e-8)


def test_a_missing_target_leaves_the_state_to_the_chain():
    y, _ = switching(600)
    X = np.zeros((600, 1))
    model = constant_slots("markov").fit(X[:500], y[:500])
    gap = y[500:].copy()
    gap[10] = np.nan
    weights = model.predict(X[500:], gap).weights
    transition = slot_transition(model, X[:1])
    np.testing.assert_allclose(weights[11], weights[10] @ transition, rtol=1e-10)


def test_blind_steps_follow_the_chain():
    y, _ = switching(600)
    X = np.zeros((600, 1))
    model = constant_slots("markov").fit(X[:500], y[:500])
    weights = model.predict(X[:7]).weights
    transition = slot_transition(model, X[:1])
    for step in range(6):
        np.testing.assert_allclose(weights[step + 1], weights[step] @ transition, rtol=1e-10)


def test_two_equal_slots_are_one():
    """Where the data hold one law, two slots must not lose to one."""
    y = 0.01 * np.random.default_rng(5).standard_normal(3000)
    X = np.zeros((3000, 1))
    one = constant_slots("static", n_slots=1).fit(X[:2000], y[:2000])
    two = constant_slots("markov").fit(X[:2000], y[:2000])
    gain = two.predict(X[2000:], y[2000:]).logpdf(y[2000:]) - one.predict(
        X[2000:], y[2000:]
    ).logpdf(y[2000:])
    assert gain.mean() > -0.002


def test_coefficients_are_named_by_feature(dataset):
    model = SlotForecaster(selector="sticky").fit(dataset.X, dataset.y)
    table = coefficients(model, "scale")
    assert table.shape == (2, 15)
    assert "log_vol" not in table.columns
    gate = coefficients(model, "gate")
    assert (gate.iloc[0] == 0).all()
    assert regime_names(2) == ("calm", "wild")
    with pytest.raises(InvalidInputError, match="role must be"):
        coefficients(model, "noise")


def test_features_can_be_given_to_each_role(dataset):
    model = SlotForecaster(
        selector="softmax", scale_features=["vol_5"], gate_features=["last_z", "vol_2"]
    ).fit(dataset.X, dataset.y)
    assert list(coefficients(model, "scale").columns) == ["vol_5"]
    assert list(coefficients(model, "gate").columns) == ["last_z", "vol_2"]
    with pytest.raises(InvalidInputError, match="unknown column"):
        SlotForecaster(gate_features=["moon"]).fit(dataset.X, dataset.y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selector": "magic"}, "selector must be one of"),
        ({"likelihood": "cauchy"}, "likelihood must be one of"),
        ({"half_life": 0}, "half_life must be a number above 0, got 0"),
        ({"half_life": float("nan")}, "half_life must be a number above 0, got nan"),
        ({"half_life": "long"}, "half_life must be a number above 0, got 'long'"),
        ({"tolerance": -1.0}, "tolerance must be a number above 0"),
        ({"gate_penalty": -1.0}, "gate_penalty must be a number of at least 0"),
        ({"slope_penalty": float("inf")}, "slope_penalty must be a number of at least 0"),
        ({"n_slots": 0}, "n_slots must be a whole number"),
        ({"horizon": 1.5}, "horizon must be a whole number"),
    ],
)
def test_wrong_settings_are_named(settings, message, dataset):
    with pytest.raises(InvalidInputError, match=message):
        SlotForecaster(**settings).fit(dataset.X, dataset.y)


@pytest.mark.parametrize(("n_rows", "horizon"), [(1, 1), (7, 3), (2, 5), (9, 3), (5, 1)])
def test_chains_hand_their_state_on_in_any_cut(n_rows, horizon):
    """Filtering rows in two parts equals filtering them in one, wherever the cut is."""
    rng = np.random.default_rng(n_rows * 10 + horizon)
    total = n_rows + 6
    log_density = rng.standard_normal((2, total))
    transition = rng.dirichlet(np.ones(2), size=(2, total)).transpose(0, 2, 1)
    state = rng.dirichlet(np.ones(2), size=horizon)

    def run(rows, state):
        chains = Chains.of(len(rows), horizon)
        order = rows[chains.order]
        return chains.filter(log_density[:, order], transition[:, :, order], state)

    whole, end = run(np.arange(total), state)
    first, middle = run(np.arange(n_rows), state)
    second, last = run(np.arange(n_rows, total), middle)
    np.testing.assert_allclose(np.vstack([first, second]), whole, rtol=1e-12)
    np.testing.assert_allclose(last, end, rtol=1e-12)


def test_arrays_and_frames_mean_the_same():
    y, _ = switching(400)
    X = np.random.default_rng(0).standard_normal((400, 2))
    a = SlotForecaster(random_state=0).fit(X, y).predict(X[:5]).std()
    b = (
        SlotForecaster(random_state=0)
        .fit(pd.DataFrame(X, columns=["x0", "x1"]), y)
        .predict(X[:5])
        .std()
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_lags_that_are_not_known_yet_are_their_own_forecasts():
    """Autoregressive Markov forecasts several rows ahead: an AR(1) decays to its mean."""
    from regimeslot.models.markov_forecaster import MarkovForecaster

    rng = np.random.default_rng(0)
    y = np.zeros(600)
    for row in range(1, 600):
        y[row] = 0.8 * y[row - 1] + (0.5 if row % 200 < 100 else 1.5) * rng.standard_normal()
    X = np.zeros((600, 1))
    model = MarkovForecaster(order=1, random_state=0).fit(X[:500], y[:500])
    blind = model.predict(X[:6])
    slope = model.params_["ar.L1"]
    const = blind.weights @ model._each("const")
    mean = y[499]
    for step in range(6):
        mean = const[step] + slope * mean
        assert blind.mean()[step] == pytest.approx(mean, rel=1e-9)
    gap = y[500:506].copy()
    gap[2:4] = np.nan
    assert np.isfinite(model.predict(X[:6], gap).mean()).all()
