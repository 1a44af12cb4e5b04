"""Strengths by the evidence: the fixed point, and what it does to features that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regimeslot.models import SlotForecaster
from regimeslot.persistence import load, save

CONSTANT = {"scale": "constant", "likelihood": "gaussian", "half_life": None, "random_state": 0}


def test_one_slot_agrees_with_bayesian_ridge_regression() -> None:
    # One relevance group per coefficient and a Gaussian likelihood: MacKay's fixed point can be
    # written in closed form given the noise variance, and iterated by hand.
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((400, 3)), columns=list("abc"))
    y = 0.8 * X["a"].to_numpy() + 0.1 * X["b"].to_numpy() + rng.standard_normal(400)
    model = SlotForecaster(n_slots=1, location="linear", penalty="evidence", **CONSTANT).fit(X, y)

    z = ((X - X.mean()) / X.std(ddof=0)).to_numpy()
    t = (y - y.mean()) / y.std()
    noise = float(np.exp(2.0 * model.parameters_["scale_bias"][0]))
    strength = np.ones(3)
    for _ in range(200):
        covariance = np.linalg.inv(z.T @ z / noise + np.diag(2.0 * strength))
        coefficients = covariance @ z.T @ t / noise
        told = np.maximum(1.0 - 2.0 * strength * np.diag(covariance), 1e-3)
        strength = np.clip(told / (2.0 * coefficients**2), 1e-3, 1e4)
    found = model.parameters_["location_slope"][0]
    np.testing.assert_allclose(found, coefficients, atol=2e-3)
    np.testing.assert_allclose(found[0], 0.8 / y.std() * X["a"].std(ddof=0), atol=0.12)


def gated(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_normal((n, 6)), columns=list("abcdef"))
    slope = np.where(2.0 * X["b"] + 0.5 * rng.standard_normal(n) > 0.0, 1.0, -1.0)
    return X, (slope * X["a"]).to_numpy() + 0.5 * rng.standard_normal(n)


def test_features_that_say_nothing_are_shrunk_away() -> None:
    X, y = gated(2000, 1)
    model = SlotForecaster(location="linear", penalty="evidence", **CONSTANT).fit(X, y)
    slopes = np.abs(model.parameters_["location_slope"])
    gate = np.abs(model.parameters_["slope"][0])
    assert slopes[:, 0].min() > 0.5
    assert slopes[:, 1:].max() < 0.05
    assert gate[1] > 1.0
    assert np.delete(gate, 1).max() < 0.2
    assert model.penalties_["memory"] > 10.0  # no state lasts: the rows of transitions agree


@pytest.mark.parametrize("selector", ["sticky", "markov", "softmax", "static"])
def test_every_selector_and_scales(selector: str) -> None:
    X, y = gated(400, 2)
    model = SlotForecaster(n_slots=3, selector=selector, penalty="evidence", random_state=0)
    forecast = model.fit(X[:300], y[:300]).predict(X[300:], y[300:])
    assert np.isfinite(forecast.logpdf(y[300:])).all()
    assert model.penalties_["shared"].shape == (6,)
    assert model.penalties_["deviation"].shape == (6,)


def test_slots_in_another_order_take_their_strengths_along() -> None:
    # Whichever slot comes first in the fit, the model saved is a minimum of its own objective.
    X, y = gated(800, 3)
    model = SlotForecaster(location="linear", penalty="evidence", warm_start=True, **CONSTANT)
    model.fit(X, y)
    before = model.parameters_["location_slope"].copy()
    model.fit(X, y)
    np.testing.assert_allclose(model.parameters_["location_slope"], before, atol=5e-3)


def test_saved_and_loaded(tmp_path: Path) -> None:
    X, y = gated(400, 5)
    model = SlotForecaster(location="linear", penalty="evidence", **CONSTANT).fit(X, y)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_equal(again.penalties_, model.penalties_)
    np.testing.assert_array_equal(again.predict(X, y).weights, model.predict(X, y).weights)


@pytest.mark.parametrize("change", [{"penalty": "evidence"}, {"n_slots": 3}])
def test_a_setting_that_was_not_learned_under_is_learned(change: dict[str, object]) -> None:
    X, y = gated(300, 4)
    before = 1.0 if "penalty" in change else "evidence"
    model = SlotForecaster(penalty=before, warm_start=True, n_starts=1, random_state=0).fit(X, y)
    model.set_params(**change).fit(X, y)
    assert model.penalty_ == "evidence"
    assert model.n_slots_ == model.n_slots


def test_settings_that_change_are_learned_anew() -> None:
    X, y = gated(400, 4)
    model = SlotForecaster(penalty="evidence", warm_start=True, random_state=0).fit(X, y)
    model.set_params(location="linear").fit(X[["a", "b"]], y)
    assert model.penalties_["location_slope"].shape == (2, 2)
    assert model.predict(X[["a", "b"]]).weights.shape == (400, 2)
