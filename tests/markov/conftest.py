import pytest

from regimeslot.markov.reference import statsmodels_data


@pytest.fixture(scope="session")
def published():
    return statsmodels_data()
