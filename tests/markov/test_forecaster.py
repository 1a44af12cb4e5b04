"""The forecaster on series that a catalogue of tickers may hold: it fits them or says why not."""

import numpy as np
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.models.markov_forecaster import MarkovForecaster


def series(name, rng):
    noise = rng.standard_normal(400)
    if name == "constant volatility":
        return 0.01 * noise
    if name == "monthly":
        return 0.04 * noise[:200]
    if name == "outliers":
        return np.where(rng.random(400) < 0.01, 5.0, 0.01 * noise)
    if name == "runs of zeros":
        return np.where(np.arange(400) % 200 < 120, 0.0, 0.01 * noise)
    if name == "zeros and ones":
        return np.repeat(rng.random(50) < 0.3, 8).astype(float)
    if name == "cauchy":
        return 0.001 * rng.standard_cauchy(400)
    return noise.cumsum()


@pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")
@pytest.mark.parametrize(
    "name",
    [
        "constant volatility",
        "monthly",
        "outliers",
        "runs of zeros",
        "zeros and ones",
        "cauchy",
        "unit root",
    ],
)
@pytest.mark.parametrize(
    "options", [{"order": 4}, {"n_regimes": 3, "likelihood": "t"}], ids=["lags", "t"]
)
def test_every_kind_of_series_is_fitted_and_forecast(name, options):
    y = series(name, np.random.default_rng(0))
    rows, known = np.zeros((y.size, 1)), y.size * 9 // 10
    model = MarkovForecaster(random_state=0, n_starts=4, warm_start=True, **options)
    model.fit(rows[:known], y[:known])
    assert model.converged_
    new, values = rows[known:], y[known:]
    assert np.isfinite(model.predict(new, values).logpdf(values)).all()
    assert np.isfinite(model.predict(new).mean()).all()
    assert model.update(new, values).fit(rows, y).converged_


def test_a_series_that_its_lags_explain_is_refused_in_words():
    ramp = np.arange(400.0)
    with pytest.raises(InvalidInputError, match="lower the order"):
        MarkovForecaster(order=4).fit(np.zeros((400, 1)), ramp)
