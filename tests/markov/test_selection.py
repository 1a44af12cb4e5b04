import numpy as np
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.markov import MarkovSwitching
from regimeslot.markov.selection import select_regimes


def test_two_regimes_are_told_from_one_and_three():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(400) * np.repeat([1.0, 3.0, 1.0, 3.0], 100)
    table = select_regimes(y, regimes=(1, 2), n_bootstrap=19, n_folds=2)
    assert table["bic"].idxmin() == 2
    assert table["icl"].idxmin() == 2
    assert table.loc[2, "p_value"] == pytest.approx(0.05)
    assert table.loc[2, "log_score"] > table.loc[1, "log_score"]


@pytest.mark.slow
def test_a_third_regime_is_not_found_where_there_are_two():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(400) * np.repeat([1.0, 3.0, 1.0, 3.0], 100)
    table = select_regimes(y, regimes=(1, 2, 3), n_bootstrap=19)
    assert table["bic"].idxmin() == 2
    assert table.loc[3, "p_value"] > 0.05


def test_without_regimes_the_test_does_not_reject():
    y = np.random.default_rng(5).standard_normal(200)
    table = select_regimes(y, regimes=(1, 2), n_bootstrap=19, n_folds=0)
    assert table["bic"].idxmin() == 1
    assert table.loc[2, "p_value"] > 0.1
    assert table["log_score"].isna().all()


def test_too_many_regimes_for_the_data_are_said_in_the_table():
    y = np.random.default_rng(2).standard_normal(15)
    table = select_regimes(y, regimes=(1, 4), n_bootstrap=0, n_folds=0)
    assert "parameters" in table.loc[4, "notes"]


def test_regressors_and_bad_arguments():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(120)
    y = x * np.repeat([1.0, -1.0], 60) + 0.3 * rng.standard_normal(120)
    model = MarkovSwitching(n_starts=2)
    table = select_regimes(y, x, regimes=(1, 2), model=model, n_bootstrap=3, n_folds=2)
    assert table["aic"].idxmin() == 2
    with pytest.raises(InvalidInputError, match="increasing"):
        select_regimes(y, regimes=(2, 1))
    with pytest.raises(InvalidInputError, match="first_train"):
        select_regimes(y, first_train=1.5)
