import json

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.markov import MarkovSwitching, MarkovSwitchingResult


@pytest.fixture(scope="module")
def returns():
    rng = np.random.default_rng(0)
    regime = np.repeat(rng.integers(0, 2, 30), 30)
    y = np.where(regime == 0, 0.0005, -0.001) + np.where(regime == 0, 0.006, 0.02) * (
        rng.standard_normal(900)
    )
    return pd.Series(y, pd.bdate_range("2015-01-01", periods=900))


@pytest.fixture(scope="module")
def volatility(returns):
    return MarkovSwitching(2, switching_variance=True, random_state=0, n_starts=4).fit(
        returns[:400]
    )


@pytest.fixture(scope="module")
def autoregression(returns):
    model = MarkovSwitching(2, order=2, switching_variance=True, random_state=0, n_starts=4)
    return model.fit(returns[:400])


def test_frames_lie_on_the_data_s_index(volatility, autoregression, returns):
    for name in ("predicted_probs", "filtered_probs", "smoothed_probs"):
        frame = getattr(volatility, name)
        assert frame.index.equals(returns.index[:400])
        np.testing.assert_allclose(frame.sum(axis=1), 1, rtol=1e-10)
        assert getattr(autoregression, name).index.equals(returns.index[2:400])
    assert volatility.viterbi_path.index.equals(returns.index[:400])
    assert volatility.elapsed_durations.iloc[0] == 1


@pytest.mark.parametrize("name", ["volatility", "autoregression"])
def test_truncating_the_data_leaves_predicted_probabilities_unchanged(name, returns, request):
    found = request.getfixturevalue(name)
    model = MarkovSwitching(**found.config)
    for cut in (100, 250):
        short = model.evaluate(returns[:cut], found.params)
        long = model.evaluate(returns[:400], found.params)
        rows = len(short.predicted_probs)
        for frame in ("predicted_probs", "filtered_probs"):
            np.testing.assert_allclose(
                getattr(short, frame),
                getattr(long, frame).iloc[:rows],
                rtol=0,
                atol=1e-12,
            )


@pytest.mark.parametrize("name", ["volatility", "autoregression"])
def test_update_over_500_rows_equals_refiltering(name, returns, request):
    found = request.getfixturevalue(name)
    whole = MarkovSwitching(**found.config).evaluate(returns, found.params)
    at_once = found.update(returns[400:])
    step = found
    for date, value in returns[400:].items():
        step = step.update(pd.Series([value], [date]))
    for updated in (at_once, step):
        assert updated.index[-1] == returns.index[-1]
        for frame in ("predicted_probs", "filtered_probs", "smoothed_probs"):
            np.testing.assert_allclose(
                getattr(updated, frame), getattr(whole, frame), rtol=0, atol=1e-12
            )
        np.testing.assert_allclose(updated.loglikelihood, whole.loglikelihood, rtol=1e-12)
    assert len(found.filtered_probs) == len(found.own_index)  # the fit itself has not moved


def test_update_of_plain_arrays_continues_the_row_numbers(returns):
    model = MarkovSwitching(1)
    found = model.fit(returns.to_numpy()[:100]).update(0.01).update([0.0, np.nan])
    assert list(found.index) == list(range(103))
    assert list(found.filtered_probs.index) == list(range(103))


def test_forecast_without_lags_is_the_state_forecast(volatility):
    ahead = volatility.forecast(5)
    now = volatility.filtered_probs.iloc[-1].to_numpy()
    weights = now @ np.linalg.matrix_power(volatility.transition, 5)
    np.testing.assert_allclose(ahead.weights[4], weights, rtol=1e-10)
    np.testing.assert_allclose(ahead.weights[0], volatility.next_probs, rtol=1e-12)
    means = volatility.params[["const[0]", "const[1]"]].to_numpy()
    np.testing.assert_allclose(ahead.mean()[4], weights @ means, rtol=1e-10)


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_one_step_forecast_is_the_next_row_s_density(form, returns):
    model = MarkovSwitching(2, order=2, form=form, random_state=0, n_starts=3)
    found = model.fit(returns[:300])
    value = float(returns.iloc[300])
    updated = found.update(returns[300:301])
    density = updated.loglikelihood_rows.iloc[-1]
    np.testing.assert_allclose(found.forecast(1).logpdf(value)[0], density, rtol=1e-9)


@pytest.mark.parametrize("form", ["mean", "intercept"])
def test_forecast_moments_match_simulated_futures(form):
    rng = np.random.default_rng(4)
    params = {
        "p[0->0]": 0.9,
        "p[1->0]": 0.2,
        "const[0]": -1.0,
        "const[1]": 1.0,
        "sigma2": 0.25,
        "ar.L1": 0.5,
        "ar.L2": -0.3,
    }
    model = MarkovSwitching(2, order=2, form=form)
    found = model.evaluate(rng.standard_normal(60).cumsum() * 0.1, params)
    steps = 7  # 2^7 paths and more: the later steps merge paths
    ahead = found.forecast(steps)
    natural, n_draws = found.natural, 40_000
    last = found.design.y[-2:][::-1]
    matrix = found.transition
    states = rng.choice(found.last_state.size, n_draws, p=found._rows.state)
    digits = np.stack(np.unravel_index(states, (2,) * (3 if form == "mean" else 1)))
    mean = natural.coef[:, 0]
    back = np.repeat(last[:, None], n_draws, axis=1)
    if form == "mean":
        back = back - mean[digits[:2]]
    regime = digits[0]
    for h in range(steps):
        regime = np.where(rng.random(n_draws) < matrix[regime, 0], 0, 1)
        noise = 0.5 * rng.standard_normal(n_draws)
        value = 0.5 * back[0] - 0.3 * back[1] + noise
        value = value if form == "mean" else value + mean[regime]
        back = np.stack([value, back[0]])
        y = value + mean[regime] if form == "mean" else value
        np.testing.assert_allclose(ahead.mean()[h], y.mean(), rtol=0, atol=0.03)
        np.testing.assert_allclose(ahead.std()[h], y.std(), rtol=0.03)


def test_simulated_data_have_the_model_s_moments(volatility):
    drawn = volatility.simulate(60_000, random_state=0)
    ahead = volatility.forecast(2000)
    np.testing.assert_allclose(drawn["y"].std(), ahead.std()[-1], rtol=0.05)
    assert set(drawn["regime"]) == {0, 1}


def test_forecast_needs_future_regressors(returns):
    x = np.sin(np.arange(300.0))
    found = MarkovSwitching(1).fit(returns[:300], x)
    with pytest.raises(InvalidInputError, match="needs exog with 2 rows"):
        found.forecast(2)
    with pytest.raises(InvalidInputError, match=r"must be \(2, 1\)"):
        found.forecast(2, exog=[[1.0, 2.0], [1.0, 2.0]])
    assert len(found.forecast(2, exog=[[0.1], [0.2]])) == 2
    with pytest.raises(InvalidInputError, match="steps"):
        found.forecast(0)


def test_time_varying_transitions_update_and_forecast(returns):
    x = np.sin(np.arange(900.0) / 20)
    model = MarkovSwitching(2, switching_variance=True, random_state=0, n_starts=3)
    found = model.fit(returns[:400], exog_tvtp=x[:400])
    assert found.transition.shape == (2, 2, 400)
    updated = found.update(returns[400:450], exog_tvtp=x[400:450])
    whole = model.evaluate(returns[:450], found.params, exog_tvtp=x[:450])
    np.testing.assert_allclose(updated.filtered_probs, whole.filtered_probs, rtol=0, atol=1e-12)
    ahead = found.forecast(1, exog_tvtp=x[400:401])
    np.testing.assert_allclose(
        ahead.weights[0], updated.predicted_probs.iloc[400], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["volatility", "autoregression"])
def test_state_round_trip(name, returns, request):
    found = request.getfixturevalue(name).update(returns[400:420])
    header, arrays = found.to_state()
    loaded = MarkovSwitchingResult.from_state(json.loads(json.dumps(header)), arrays)
    assert loaded.index.equals(found.index)
    pd.testing.assert_series_equal(loaded.params, found.params)
    pd.testing.assert_series_equal(loaded.std_errors, found.std_errors)
    pd.testing.assert_frame_equal(
        loaded.smoothed_probs, found.smoothed_probs, check_freq=False, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        loaded.forecast(3).std(), found.forecast(3).std(), rtol=1e-12, atol=0
    )
    with pytest.raises(InvalidInputError, match="expected a markov"):
        MarkovSwitchingResult.from_state({"kind": "other"}, arrays)


@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2000Q1", periods=100, freq="Q"),
        pd.date_range("2000", periods=100, tz="Europe/Berlin"),
        pd.RangeIndex(5, 105),
        pd.Index(np.arange(100) ** 2),
        pd.Index([f"row {i}" for i in range(100)]),
    ],
)
def test_every_index_survives_storage(index):
    y = pd.Series(np.random.default_rng(0).standard_normal(100), index)
    found = MarkovSwitching(1).fit(y)
    header, arrays = found.to_state()
    loaded = MarkovSwitchingResult.from_state(json.loads(json.dumps(header)), arrays)
    assert list(loaded.index) == list(index)


def test_summary_and_plot(volatility):
    import matplotlib as mpl

    mpl.use("agg")
    text = volatility.summary()
    for word in ("log-likelihood", "sigma2[1]", "expected duration", "starts"):
        assert word in text
    axes = volatility.plot_regimes()
    assert axes.get_ylabel() == "smoothed probability"
    assert "log-likelihood" in repr(volatility)
