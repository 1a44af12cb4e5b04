"""A short series with two volatility regimes, as prices and as a dataset."""

import numpy as np
import pandas as pd
import pytest

from regimeslot.features import make_dataset


def simulated_prices(n_rows=900, seed=7):
    rng = np.random.default_rng(seed)
    wild = np.zeros(n_rows, bool)
    for row in range(1, n_rows):
        wild[row] = rng.random() < (0.95 if wild[row - 1] else 0.02)
    returns = np.where(wild, 0.02, 0.007) * rng.standard_t(6, n_rows) * np.sqrt(4 / 6)
    dates = pd.bdate_range("2015-01-01", periods=n_rows, name="Date")
    return pd.DataFrame({"Close": 100 * np.exp(np.cumsum(returns))}, index=dates)


@pytest.fixture(scope="session")
def prices():
    return simulated_prices()


@pytest.fixture(scope="session")
def dataset(prices):
    return make_dataset(prices, name="simulated")


@pytest.fixture(scope="session")
def weekly(prices):
    """The same series with a target of five days."""
    return make_dataset(prices, horizon=5, name="simulated")
