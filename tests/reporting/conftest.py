"""A run on a short simulated series, made once; and small studies with chosen forecasts."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from regimeslot.evaluation.run import RunSettings, fit_run
from regimeslot.evaluation.walk_forward import Study
from regimeslot.features import Dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.prices import Prices
from regimeslot.windows import Fold

XSS = "<img src=x onerror=alert(1)>"
MODELS = ("mean", "linear", "slots-single", "slots-static", "slots-markov", "slots-sticky", "pool")


@pytest.fixture(scope="session")
def prices():
    rng = np.random.default_rng(7)
    wild = np.zeros(800, bool)
    for row in range(1, 800):
        wild[row] = rng.random() < (0.95 if wild[row - 1] else 0.02)
    returns = np.where(wild, 0.02, 0.007) * rng.standard_t(6, 800) * np.sqrt(4 / 6)
    dates = pd.bdate_range("2015-01-01", periods=800, name="Date")
    return Prices(
        pd.DataFrame({"Close": 100 * np.exp(np.cumsum(returns))}, index=dates),
        ticker="SIM",
        symbol="SIM",
        source="yahoo",
        as_of=datetime(2018, 1, 25, 21, 30, tzinfo=UTC),
    )


@pytest.fixture(scope="session")
def run(prices):
    settings = RunSettings(models=MODELS, train_size=600, refit_every=150)
    return fit_run(prices, settings, command="regimeslot fit --ticker SIM")


@pytest.fixture(scope="session")
def poisoned(run):
    """The same run for a ticker, a note and a model name that are markup."""
    held = replace(run.prices, ticker=XSS, symbol=XSS, notes=(XSS,), source="bundled")
    study = replace(run.study, failures={XSS: XSS})
    command = f"regimeslot fit --ticker '{XSS}'</script><script>alert(2)</script>"
    return replace(run, prices=held, study=study, command=command)


WARM = 10  # rows before the first forecast row of a given study


def make_study(y, forecasts, *, index=None, horizon=1, transform="log-return", failures=None):
    """A study whose forecasts are given, after ten rows that none of them covers."""
    n = len(y) + WARM
    index = pd.bdate_range("2020-01-01", periods=n) if index is None else index
    warm = np.tile([0.01, -0.01], WARM // 2)
    series = pd.Series(np.concatenate([warm, np.asarray(y, float)]), index=index)
    dataset = Dataset(
        X=pd.DataFrame({"x": np.zeros(n)}, index=index),
        y=series,
        horizon=horizon,
        transform=transform,
        name="given",
        returns=series,
    )
    held = {
        name: MixtureForecast(
            f.weights, f.locations, f.scales, f.dof, f.skew, index[WARM:], f.labels
        )
        for name, f in forecasts.items()
    }
    seconds = dict.fromkeys(held, 0.0)
    folds = (Fold(slice(0, WARM), slice(WARM, n)),)
    return Study(dataset, folds, held, seconds, failures=failures or {})


def gaussian(n, std=0.01, mean=0.0):
    return MixtureForecast(np.ones((n, 1)), mean, std, np.inf)


@pytest.fixture
def study_of():
    return make_study


@pytest.fixture
def normal():
    return gaussian


@pytest.fixture
def xss():
    return XSS


@pytest.fixture(scope="session")
def long_study():
    """Thirty-three years of days, three regimes and all five baselines."""
    n = 8300
    rng = np.random.default_rng(0)
    std = 0.01 * np.exp(0.5 * np.sin(np.arange(n) / 90) + 0.1 * rng.standard_normal(n))
    y = std * rng.standard_t(5, n)
    p = rng.uniform(size=n)
    sticky = MixtureForecast(
        np.column_stack([0.6 * p, 0.4 * p, 1 - p]),
        0.0,
        np.column_stack([0.7 * std, std, 1.6 * std]),
        6.0,
    )
    names = ("gjr-garch", "egarch-skewt", "linear", "markov", "mean")
    others = {
        name: MixtureForecast(np.ones((n, 1)), 0.0, (1 + 0.1 * k) * std[:, None], 6.0)
        for k, name in enumerate(names)
    }
    index = pd.bdate_range("1993-01-29", periods=n + WARM)
    return make_study(y, {"slots-sticky": sticky, **others}, index=index)
