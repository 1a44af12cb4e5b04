"""The number of slots and the penalty are chosen by held-out training rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regimeslot.models import SlotForecaster
from regimeslot.models.slot_choice import choose_slots


def two_laws(n: int, seed: int, noise: float = 0.3) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_normal((n, 2)), columns=["a", "b"])
    slope = np.where(X["b"] > 0.0, 1.0, -1.0)
    return X, (slope * X["a"]).to_numpy() + noise * rng.standard_normal(n)


def slots(**settings: object) -> SlotForecaster:
    defaults: dict[str, object] = {
        "location": "linear",
        "scale": "constant",
        "likelihood": "gaussian",
        "half_life": None,
        "random_state": 0,
    }
    return SlotForecaster(**{**defaults, **settings})


@pytest.mark.parametrize("allowed", [2, 3, 4])
def test_twins_of_two_laws_are_not_fitted(allowed: int) -> None:
    X, y = two_laws(1200, 0)
    model = slots(n_slots=allowed).fit(X, y)
    assert model.n_slots_ == 2
    assert model.predict(X[:5]).weights.shape == (5, 2)
    assert model.get_params()["n_slots"] == allowed


def test_slots_that_earn_are_kept() -> None:
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.standard_normal((1500, 2)), columns=["a", "b"])
    slope = np.select([X["b"] < -0.5, X["b"] < 0.5], [-3.0, 0.0], 3.0)
    y = (slope * X["a"]).to_numpy() + 0.2 * rng.standard_normal(1500)
    assert choose_slots(slots(n_slots=3), X, y)[0] == 3


def test_a_given_penalty_keeps_the_number_of_slots() -> None:
    X, y = two_laws(400, 2)
    model = slots(n_slots=3, penalty=1.0).fit(X, y)
    assert model.n_slots_ == 3


def test_too_few_rows_to_tell_keep_the_settings() -> None:
    X, y = two_laws(36, 3)
    assert choose_slots(slots(n_slots=3), X, y) == (3, 1.0)


def test_refits_keep_slots_and_penalty() -> None:
    X, y = two_laws(1200, 4)
    model = slots(n_slots=4, warm_start=True).fit(X[:800], y[:800])
    before = model.n_slots_, model.penalties_
    model.fit(X, y)
    assert model.n_slots_ == before[0]
    np.testing.assert_equal(model.penalties_, before[1])
