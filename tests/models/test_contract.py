"""One contract over every model of the catalogue."""

import numpy as np
import pandas as pd
import pytest

from regimeslot.causality import assert_causal
from regimeslot.errors import (
    CausalityError,
    InvalidInputError,
    NotFittedError,
    TooFewRowsError,
)
from regimeslot.models import catalogue
from regimeslot.models.catalogue import CATALOGUE, Setting
from regimeslot.persistence import load, save

NAMES = tuple(CATALOGUE)
TRAIN = 450
SMALL = {"window": 16, "hidden_size": 4, "n_seeds": 2, "epochs": 3, "refit_epochs": 2}
NETWORKS = ("slot-lstm", "lstm")  # the contract holds for any size: a small one is tested faster

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")


def make_forecaster(name, setting=None):
    return catalogue.make_forecaster(name, setting).set_params(**SMALL if name in NETWORKS else {})


@pytest.fixture(scope="module")
def fitted(dataset):
    """Every model, fitted once on the first rows."""
    return {name: make_forecaster(name).fit(dataset.X[:TRAIN], dataset.y[:TRAIN]) for name in NAMES}


def same(a, b, rtol=1e-10, atol=1e-12):
    for field in ("weights", "locations", "scales", "dof", "skew"):
        np.testing.assert_allclose(
            getattr(a, field), getattr(b, field), rtol=rtol, atol=atol, err_msg=field
        )


@pytest.mark.parametrize("name", NAMES)
def test_forecasts_are_distributions_on_the_rows_asked_for(name, fitted, dataset):
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    forecast = fitted[name].predict(X, y)
    assert len(forecast) == len(X)
    pd.testing.assert_index_equal(forecast.index, X.index)
    np.testing.assert_allclose(forecast.weights.sum(axis=1), 1.0, rtol=0, atol=1e-9)
    assert np.isfinite(forecast.logpdf(y.to_numpy())).all()
    assert (forecast.std() > 0).all()
    ratio = forecast.std().mean() / y.std()
    assert 0.3 < ratio < 3.0  # in the data's units


@pytest.mark.parametrize("name", NAMES)
def test_no_forecast_sees_what_comes_after_it(name, dataset):
    assert_causal(make_forecaster(name), dataset, train_size=TRAIN, rows=[TRAIN + 1, TRAIN + 60])


@pytest.mark.parametrize("name", NAMES)
def test_no_weekly_forecast_sees_an_unfinished_week(name, weekly):
    model = make_forecaster(name, Setting(horizon=5))
    assert_causal(model, weekly, train_size=TRAIN, rows=[TRAIN + 3, TRAIN + 60])


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_forecasts(name, fitted, dataset):
    again = make_forecaster(name).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    same(fitted[name].predict(X, y), again.predict(X, y), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_update_then_predict_equals_predict_over_all_rows(name, dataset):
    model = make_forecaster(name).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    whole = model.predict(X, y)
    for step in (slice(0, 1), slice(1, 30), slice(30, 31)):
        model.update(X[step], y[step])
    same(model.predict(X[31:], y[31:]), whole[31:], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_weekly_update_then_predict_equals_predict_over_all_rows(name, weekly):
    model = make_forecaster(name, Setting(horizon=5)).fit(weekly.X[:TRAIN], weekly.y[:TRAIN])
    X, y = weekly.X[TRAIN:], weekly.y[TRAIN:]
    whole = model.predict(X, y)
    for step in (slice(0, 1), slice(1, 3), slice(3, 33)):
        model.update(X[step], y[step])
    same(model.predict(X[33:], y[33:]), whole[33:], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_without_y_the_first_row_is_the_one_step_forecast(name, fitted, dataset):
    X, y = dataset.X[TRAIN : TRAIN + 8], dataset.y[TRAIN : TRAIN + 8]
    blind, seeing = fitted[name].predict(X), fitted[name].predict(X, y)
    same(blind[0:1], seeing[0:1])
    assert len(blind) == 8


@pytest.mark.parametrize("name", NAMES)
def test_save_and_load_forecast_alike(name, fitted, dataset, tmp_path):
    file = save(fitted[name], tmp_path / "model.safetensors")
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    again = load(file)
    same(fitted[name].predict(X, y), again.predict(X, y), rtol=1e-12)
    assert repr(again) == repr(fitted[name])
    assert file.read_bytes() == save(again, tmp_path / "again.safetensors").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_refit_ends_where_a_cold_one_does(name, dataset):
    """Slots have several optima: what must agree is the quality of the fit, not its digits."""
    warm = make_forecaster(name).clone(warm_start=True)
    warm.fit(dataset.X[: TRAIN - 50], dataset.y[: TRAIN - 50])
    warm.fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    cold = make_forecaster(name).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    gap = warm.predict(X, y).logpdf(y.to_numpy()) - cold.predict(X, y).logpdf(y.to_numpy())
    assert abs(gap.mean()) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_a_scaled_series_gives_scaled_forecasts(name, fitted, dataset):
    """Returns in any unit: multiplying y, and what of X carries its unit, scales the forecasts."""
    factor = 250.0
    X = dataset.X.copy()
    X["log_vol"] += np.log(factor)
    X["log_vol_21"] += np.log(factor)
    X["last_return"] *= factor
    y = dataset.y * factor
    model = make_forecaster(name).fit(X[:TRAIN], y[:TRAIN])
    scaled = model.predict(X[TRAIN:], y[TRAIN:])
    plain = fitted[name].predict(dataset.X[TRAIN:], dataset.y[TRAIN:])
    np.testing.assert_allclose(scaled.std(), factor * plain.std(), rtol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_read_set_and_cloned(name):
    model = make_forecaster(name)
    assert set(model.get_params()) == set(type(model).parameter_names())
    copy = model.clone(warm_start=True)
    assert copy.warm_start
    assert not copy.is_fitted
    assert repr(model).startswith(type(model).__name__)
    with pytest.raises(InvalidInputError, match="no parameter 'colour'"):
        model.set_params(colour=1)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_gets_a_typed_sentence(name, fitted, dataset):
    model = fitted[name]
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    with pytest.raises(NotFittedError, match="call fit"):
        make_forecaster(name).predict(X)
    with pytest.raises(InvalidInputError, match="one value for each"):
        model.predict(X, y.to_numpy()[:-1])
    hole = X.copy()
    hole.iloc[3, 1] = np.nan
    with pytest.raises(InvalidInputError, match="finite"):
        model.predict(hole, y)
    with pytest.raises(InvalidInputError, match="lacks the column"):
        model.predict(X.drop(columns=X.columns[2]), y)
    gap = dataset.y[:TRAIN].copy()
    gap.iloc[5] = np.nan
    with pytest.raises(InvalidInputError, match="finite"):
        make_forecaster(name).fit(dataset.X[:TRAIN], gap)
    with pytest.raises(TooFewRowsError, match="too few"):
        make_forecaster(name).fit(X[:10], y[:10])
    with pytest.raises(InvalidInputError, match="constant"):
        make_forecaster(name).fit(dataset.X[:TRAIN], np.zeros(TRAIN))


def test_an_unknown_name_is_answered_with_a_near_one():
    with pytest.raises(InvalidInputError, match="did you mean 'slots-sticky'"):
        make_forecaster("slot-sticky")


def test_every_model_that_the_documentation_names_is_there():
    assert set(NAMES) >= {
        "mean", "linear", "markov", "markov-t", "gjr-garch", "egarch-skewt", "slot-weight",
        "slots-single", "slots-static", "slots-markov", "slots-sticky", "pool", "slot-lstm", "lstm",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_fit_leaves_the_model_as_it_was(name, dataset):
    model = make_forecaster(name)
    with pytest.raises(InvalidInputError):
        model.fit(dataset.X[:TRAIN], np.zeros(TRAIN))
    assert not model.is_fitted
    model.fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    before = model.predict(dataset.X[TRAIN:], dataset.y[TRAIN:])
    with pytest.raises(InvalidInputError):
        model.fit(dataset.X[:TRAIN], np.zeros(TRAIN))
    same(model.predict(dataset.X[TRAIN:], dataset.y[TRAIN:]), before)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_another_time_are_refused(name, fitted, dataset):
    X, y = dataset.X, dataset.y
    with pytest.raises(InvalidInputError, match="index of X"):
        make_forecaster(name).fit(X[:TRAIN], y[1 : TRAIN + 1])
    with pytest.raises(InvalidInputError, match="index of X"):
        fitted[name].predict(X[TRAIN : TRAIN + 5], y[TRAIN + 5 : TRAIN + 10])
    with pytest.raises(InvalidInputError, match="columns that the model was fitted with"):
        fitted[name].predict(np.zeros((5, X.shape[1] + 1)))


@pytest.mark.parametrize("name", ["slots-sticky", "markov", "mean"])
def test_a_model_of_one_day_is_caught_on_weekly_targets(name, weekly):
    """Its state would read targets that are not finished, whatever its own horizon says."""
    with pytest.raises(CausalityError):
        assert_causal(make_forecaster(name), weekly, train_size=TRAIN)
