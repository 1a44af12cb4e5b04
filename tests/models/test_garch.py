"""GARCH against arch: the same densities from our own recursion."""

import warnings

import numpy as np
import pytest
from arch import arch_model

from regimeslot.errors import ConvergenceWarning, InvalidInputError
from regimeslot.models.garch import GarchForecaster

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")

KINDS = [
    ("garch", "gaussian", 1, 0),
    ("garch", "t", 1, 0),
    ("gjr", "t", 1, 0),
    ("gjr", "skewt", 1, 2),
    ("egarch", "t", 1, 0),
    ("egarch", "skewt", 2, 0),
]
ARCH_NAMES = {"gaussian": "normal", "t": "t", "skewt": "skewt"}


@pytest.mark.parametrize(("volatility", "likelihood", "lags", "ar_lags"), KINDS)
def test_forecasts_equal_arch_at_the_same_parameters(
    dataset, volatility, likelihood, lags, ar_lags
):
    model = GarchForecaster(
        volatility=volatility, likelihood=likelihood, lags=lags, ar_lags=ar_lags
    ).fit(dataset.X[:500], dataset.y[:500])
    y = dataset.y.to_numpy()
    forecast = model.predict(dataset.X[500:], y[500:])
    oracle = arch_model(
        y / model.spread_,
        mean="AR" if ar_lags else "Constant",
        lags=ar_lags or None,
        vol="EGARCH" if volatility == "egarch" else "GARCH",
        p=lags,
        o=0 if volatility == "garch" else lags,
        q=lags,
        dist=ARCH_NAMES[likelihood],
        rescale=False,
    )
    fixed = oracle.fix(list(model.params_.values()))
    np.testing.assert_allclose(
        forecast.std() / model.spread_, fixed.conditional_volatility[500:], rtol=1e-8
    )
    residuals = np.asarray(fixed.resid)[500:] * model.spread_
    np.testing.assert_allclose(y[500:] - forecast.mean(), residuals, rtol=1e-8, atol=1e-12)
    shape = list(model.params_.values())[
        len(model.params_) - {"gaussian": 0, "t": 1, "skewt": 2}[likelihood] :
    ]
    log_density = oracle.distribution.loglikelihood(
        shape,
        np.asarray(fixed.resid)[500:],
        np.asarray(fixed.conditional_volatility)[500:] ** 2,
        individual=True,
    )
    np.testing.assert_allclose(
        forecast.logpdf(y[500:]), log_density - np.log(model.spread_), rtol=1e-7, atol=1e-9
    )


def test_several_steps_ahead_equal_archs_analytic_forecast(dataset):
    y = dataset.y.to_numpy()[:500]
    model = GarchForecaster(volatility="gjr").fit(dataset.X[:500], y)
    blind = model.predict(dataset.X[500:510])
    oracle = arch_model(y / model.spread_, mean="Constant", p=1, o=1, q=1, dist="t", rescale=False)
    expected = oracle.fix(list(model.params_.values())).forecast(horizon=10, reindex=False)
    np.testing.assert_allclose(
        blind.var() / model.spread_**2, expected.variance.to_numpy()[-1], rtol=1e-6
    )


def test_weekly_variance_is_the_sum_of_daily_ones(weekly, dataset):
    daily = GarchForecaster().fit(dataset.X[:500], dataset.y[:500])
    model = GarchForecaster(horizon=5).fit(weekly.X[:501], weekly.y[:501])
    ratio = model.predict(weekly.X[501:502], [np.nan]).var() / (
        5 * daily.predict(dataset.X[500:501]).var()
    )
    assert 0.4 < ratio[0] < 2.5


def test_a_weekly_forecast_needs_the_daily_series(weekly):
    X = weekly.X.drop(columns="last_return")
    with pytest.raises(InvalidInputError, match="last_return"):
        GarchForecaster(horizon=5).fit(X, weekly.y)


def test_unknown_kinds_are_named(dataset):
    with pytest.raises(InvalidInputError, match="volatility must be one of gjr, garch, egarch"):
        GarchForecaster(volatility="figarch").fit(dataset.X, dataset.y)


@pytest.mark.parametrize("volatility", ["egarch", "gjr"])
def test_a_fit_is_no_worse_than_constant_variance(volatility: str) -> None:
    # Rounded changes of a short series: flat likelihoods in which a first start may fail.
    rng = np.random.default_rng(3)
    y = np.round(0.25 * rng.standard_t(4, 140), 1)
    model = GarchForecaster(volatility=volatility, likelihood="skewt", lags=2, ar_lags=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.zeros((140, 1)), y)
    constant = -0.5 * 136 * (np.log(2.0 * np.pi * np.var(y / model.spread_)) + 1.0)
    assert model.log_likelihood_ > constant
    assert abs(model.params_["lambda"]) <= 0.9 + 1e-9


def test_one_sided_rows_do_not_make_the_other_side_impossible() -> None:
    rng = np.random.default_rng(0)
    y = rng.exponential(1.0, 300)  # its best skew is the edge itself
    model = GarchForecaster(volatility="garch", likelihood="skewt").fit(np.zeros((300, 1)), y)
    forecast = model.predict(np.zeros((1, 1)))
    below = forecast.mean() - 2.0 * forecast.std()
    assert forecast.logpdf(below)[0] > -60.0
