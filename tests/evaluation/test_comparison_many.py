"""Multiple comparisons: the wrappers give arch's numbers, and hold their error over all models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import long_run_variance
from regimeslot.evaluation.comparison_many import (
    model_confidence_set,
    step_m,
    study_losses,
    superior_predictive_ability,
)
from regimeslot.evaluation.scores import crps, qlike
from regimeslot.evaluation.walk_forward import walk_forward
from regimeslot.features import make_dataset


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    common = rng.standard_normal(400)
    means = {"worst": 0.6, "good": 0.0, "also good": 0.02, "middling": 0.15}
    return pd.DataFrame({k: m + common + rng.standard_normal(400) for k, m in means.items()})


@pytest.mark.parametrize("method", ["R", "max"])
def test_model_confidence_set_is_that_of_arch(table: pd.DataFrame, method: str) -> None:
    from arch.bootstrap import MCS

    result = model_confidence_set(table, method=method, block=7, draws=500, random_state=3)
    reference = MCS(table, size=0.1, reps=500, block_size=7, method=method, seed=3)
    reference.compute()
    wanted = reference.pvalues["Pvalue"].loc[result.index]
    assert_allclose(result["p"], wanted, rtol=1e-12)
    assert sorted(result.index[result["included"]]) == reference.included
    assert list(result.index) == list(table.mean().sort_values().index)
    assert not result.loc["worst", "included"]


def test_equal_models_stand_or_fall_together(table: pd.DataFrame) -> None:
    twins = table.assign(twin=table["good"])
    with_twin, without = model_confidence_set(twins), model_confidence_set(table)
    assert with_twin.loc["twin", "p"] == with_twin.loc["good", "p"]
    assert_allclose(with_twin.loc[without.index, "p"], without["p"], rtol=1e-12)
    same = model_confidence_set({"a": table["good"], "b": table["good"]})
    assert same["included"].all()


def test_superior_ability_is_that_of_arch_on_studentised_differences(table: pd.DataFrame) -> None:
    from arch.bootstrap import SPA

    result = superior_predictive_ability(table, "worst", block=6, draws=400, random_state=5)
    others = table.drop(columns="worst")
    d = others.rsub(table["worst"], axis=0)
    scaled = d / np.sqrt([long_run_variance(d[c]) for c in d])
    reference = SPA(np.zeros(400), -scaled, block_size=6, reps=400, seed=5)
    reference.compute()
    assert_allclose([result.lower, result.p, result.upper], reference.pvalues, rtol=1e-12)
    assert result.best == scaled.mean().idxmax()
    assert result.lower <= result.p <= result.upper


def test_a_wild_model_cannot_drown_a_sure_gain() -> None:
    rng = np.random.default_rng(6)
    reference = rng.standard_normal(300)
    sure = reference - 0.1 + 0.2 * rng.standard_normal(300)
    losses = {"reference": reference, "sure": sure, "wild": 50 * rng.standard_normal(300)}
    assert superior_predictive_ability(losses, "reference").p < 0.01
    assert step_m(losses, "reference") == ["sure"]


def test_step_m_is_that_of_arch(table: pd.DataFrame) -> None:
    from arch.bootstrap import StepM

    found = step_m(table, "worst", block=6, draws=400, random_state=5)
    others = table.drop(columns="worst")
    d = others.rsub(table["worst"], axis=0)
    scaled = d / np.sqrt([long_run_variance(d[c]) for c in d])
    reference = StepM(np.zeros(400), -scaled, size=0.05, block_size=6, reps=400, seed=5)
    reference.compute()
    assert found == list(reference.superior_models)
    assert step_m(table, "good") == []


def test_step_m_goes_on_to_the_weaker_models_and_ends_when_all_are_found() -> None:
    rng = np.random.default_rng(1)
    t = np.array([9.0, 2.0])  # the second is seen only once the first is out of the way
    noise = rng.standard_normal((500, 2))
    noise = (noise - noise.mean(0)) / noise.std(0)
    gains = noise + t / np.sqrt(500)
    losses = {"reference": np.zeros(500), "strong": -gains[:, 0], "weak": -gains[:, 1]}
    assert step_m(losses, "reference", size=0.06, draws=4000) == ["strong", "weak"]


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(3)
    dates = pd.bdate_range("2020-01-01", periods=700)
    data = make_dataset(pd.Series(np.exp(0.01 * rng.standard_normal(700).cumsum()), index=dates))
    return walk_forward(["mean", "linear"], data, train_size=500, refit_every=100)


def test_losses_of_a_study(study) -> None:
    y = study.y.to_numpy()
    for score, of in (("crps", crps), ("qlike", qlike)):
        losses = study_losses(study, score)
        for name, forecast in study.forecasts.items():
            assert_allclose(losses[name], of(forecast, y), rtol=1e-12)
    assert_allclose(study_losses(study), -study.log_scores(), rtol=0)
    errors = study_losses(study, "squared_error")
    assert_allclose(errors["mean"], (y - study.forecasts["mean"].mean()) ** 2, rtol=1e-12)
    table = model_confidence_set(study, score="crps", draws=100)
    assert set(table.index) == {"mean", "linear"}
    with pytest.raises(InvalidInputError, match="score must be"):
        study_losses(study, "rmse")


def test_faults(table: pd.DataFrame) -> None:
    with pytest.raises(InvalidInputError, match="at least 2 models"):
        model_confidence_set({"a": np.zeros(50)})
    with pytest.raises(TooFewRowsError):
        model_confidence_set(table[:10])
    with pytest.raises(InvalidInputError, match="'good' must be finite"):
        model_confidence_set(table.assign(good=np.nan))
    with pytest.raises(InvalidInputError, match="reference must be"):
        step_m(table, "nobody")
    with pytest.raises(InvalidInputError, match="differ by the same"):
        superior_predictive_ability(table.assign(twin=table["good"]), "good")
    with pytest.raises(InvalidInputError, match="level must lie"):
        model_confidence_set(table, level=90)
    with pytest.raises(InvalidInputError, match="block must be"):
        model_confidence_set(table, block=500)


def false_confidence_set(losses: np.ndarray, seed: int) -> bool:
    result = model_confidence_set(
        pd.DataFrame(losses), level=0.95, block=2, draws=199, random_state=seed
    )
    return not result["included"].all()


def false_superior(losses: np.ndarray, seed: int) -> bool:
    table = pd.DataFrame(losses, columns=list("abcd"))
    result = superior_predictive_ability(table, "a", block=2, draws=199, random_state=seed)
    return result.p < 0.05


def false_step(losses: np.ndarray, seed: int) -> bool:
    table = pd.DataFrame(losses, columns=list("abcd"))
    return bool(step_m(table, "a", block=2, draws=199, random_state=seed))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("finds", [false_confidence_set, false_superior, false_step])
def test_size_over_all_models_at_once(finds) -> None:
    """Four equally good models: any finding is false, and comes in 5 % of samples."""
    losses = np.random.default_rng(9).standard_normal((2000, 300, 4))
    rate = np.mean([finds(sample, seed) for seed, sample in enumerate(losses)])
    assert 0.04 <= rate <= 0.065
