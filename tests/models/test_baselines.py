import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from statsmodels.regression.linear_model import OLS

from regimeslot.errors import InvalidInputError
from regimeslot.models.baselines import LinearForecaster, MeanForecaster
from regimeslot.models.residuals import fit_residuals
from regimeslot.models.slot_forecaster import SlotForecaster


def test_the_mean_grows_with_every_known_target():
    y = np.random.default_rng(0).standard_normal(120)
    model = MeanForecaster().fit(np.zeros((100, 1)), y[:100])
    means = model.predict(np.zeros((20, 1)), y[100:]).mean()
    np.testing.assert_allclose(means, [y[:n].mean() for n in range(100, 120)], rtol=1e-12)


def test_the_weekly_mean_waits_for_whole_targets():
    y = np.random.default_rng(0).standard_normal(120)
    model = MeanForecaster(horizon=5).fit(np.zeros((100, 1)), y[:100])
    means = model.predict(np.zeros((20, 1)), y[100:]).mean()
    np.testing.assert_allclose(means, [y[: n - 4].mean() for n in range(100, 120)], rtol=1e-12)


def test_linear_coefficients_and_hac_errors_are_statsmodels():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.standard_normal((400, 2)), columns=["a", "b"])
    y = 0.3 + X["a"] - 0.5 * X["b"] + rng.standard_normal(400)
    model = LinearForecaster().fit(X, y)
    lags = int(4 * (400 / 100) ** (2 / 9))
    design = np.column_stack([np.ones(400), X])
    oracle = OLS(y, design).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    table = model.summary()
    assert list(table.index) == ["const", "a", "b"]
    np.testing.assert_allclose(table["coef"], oracle.params, rtol=1e-10)
    np.testing.assert_allclose(table["std_error"], oracle.bse, rtol=1e-10)
    np.testing.assert_allclose(table["p"], oracle.pvalues, rtol=1e-8)


def test_residuals_are_fitted_like_scipys_student_t():
    x = 0.02 * t.rvs(4, size=6000, random_state=2)
    std, dof = fit_residuals(x, "t")
    expected_dof, _, scale = t.fit(x, floc=0.0)
    assert dof == pytest.approx(expected_dof, rel=0.02)
    assert std == pytest.approx(scale * np.sqrt(expected_dof / (expected_dof - 2)), rel=0.02)


def test_residuals_of_nothing_are_refused():
    with pytest.raises(InvalidInputError, match="all zero"):
        fit_residuals(np.zeros(50), "t")


def test_one_slot_without_penalty_is_linear_regression():
    """K = 1, linear location, constant scale, Gaussian: ordinary least squares."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((600, 3))
    y = X @ [0.5, -1.0, 0.2] + 0.4 + 0.3 * rng.standard_normal(600)
    slot = SlotForecaster(
        n_slots=1,
        likelihood="gaussian",
        location="linear",
        scale="constant",
        slope_penalty=0.0,
        location_penalty=0.0,
        half_life=None,
        tolerance=1e-12,
    ).fit(X[:500], y[:500])
    linear = LinearForecaster(likelihood="gaussian").fit(X[:500], y[:500])
    np.testing.assert_allclose(
        slot.predict(X[500:]).mean(), linear.predict(X[500:]).mean(), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        slot.predict(X[500:]).std(), linear.predict(X[500:]).std(), rtol=1e-4
    )
