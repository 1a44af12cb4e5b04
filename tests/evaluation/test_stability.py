"""Labels of the same rows by consecutive refits."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.stability import _labels, _relabelled, regime_stability
from regimeslot.evaluation.walk_forward import walk_forward
from regimeslot.features import make_dataset
from regimeslot.models import MarkovForecaster

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")

N, TRAIN, REFIT = 900, 500, 100


def series(std):
    steps = std * np.random.default_rng(1).standard_normal(N)
    dates = pd.bdate_range("2020-01-01", periods=N, name="Date")
    return make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates))


@pytest.fixture(scope="module")
def study():
    std = np.where(np.arange(N) % 200 < 100, 0.005, 0.02)
    names = ["mean", "markov", "slots-markov"]
    return walk_forward(names, series(std), train_size=TRAIN, refit_every=REFIT)


def test_lasting_regimes_survive_their_refits(study):
    found = regime_stability(study, "markov")
    assert list(found.table.index) == [study.y.index[k] for k in (100, 200, 300)]
    assert found.n_rows == len(study.y) == N - TRAIN - 1
    assert (found.table["rand"] > 0.9).all()
    assert (found.table["alike"] > 0.97).all()
    assert not found.table["renamed"].any()
    assert found.words == "excellent"
    first, second = (_labels(model, study) for model in study.refits["markov"][:2])
    rand = adjusted_rand_score(first, second)
    np.testing.assert_allclose(found.table["rand"].iloc[0], rand, rtol=1e-12)
    np.testing.assert_allclose(found.table["alike"].iloc[0], np.mean(first == second), rtol=1e-12)
    record = found.to_json()
    assert record["refits"] == 3
    assert record["rand_lowest"] == pytest.approx(found.table["rand"].min(), rel=1e-12)


def test_labels_are_those_that_were_forecast_with(study):
    """A refit labels its own test rows as the walk-forward did, once its start is forgotten."""
    for name in ("markov", "slots-markov"):
        for fold, model in zip(study.folds, study.refits[name], strict=True):
            inside = slice(fold.test.start - study.rows.start, fold.test.stop - study.rows.start)
            forecast = study.forecasts[name].weights[inside].argmax(axis=1)
            mine = _labels(model, study)[inside]
            assert np.mean(forecast == mine) > 0.98


def test_rows_are_labelled_after_the_targets_before_them():
    """Locations follow the lags, so those of a refit's own rows are what it forecast."""
    std = np.where(np.arange(N) % 200 < 100, 0.005, 0.02)
    model = MarkovForecaster(order=2, n_starts=3, random_state=0)
    study = walk_forward({"ar": model}, series(std), train_size=TRAIN, refit_every=REFIT)
    for fold, fit in zip(study.folds, study.refits["ar"], strict=True):
        rows = slice(fold.test.start - study.rows.start, fold.test.stop - study.rows.start)
        again, was = _relabelled(fit, study).locations, study.forecasts["ar"].locations
        np.testing.assert_allclose(again[rows], was[rows], rtol=1e-10, atol=1e-14)


def test_a_refit_that_names_its_regimes_otherwise_is_seen_and_matched(study):
    def swapped(model):
        other = deepcopy(model)
        turn = {"0": "1", "1": "0"}
        other.params_ = {
            "".join(turn.get(c, c) if "[" in key else c for c in key): value
            for key, value in model.params_.items()
        }
        other.transition_ = model.transition_[::-1, ::-1]
        return other

    first, second, *others = study.refits["markov"]
    turned = replace(study, refits={"markov": (first, swapped(second), *others)})
    plain, seen = (regime_stability(s, "markov").table for s in (study, turned))
    np.testing.assert_allclose(seen["rand"], plain["rand"], rtol=1e-12)
    np.testing.assert_allclose(seen["alike"], plain["alike"], rtol=1e-12)
    assert seen["renamed"].tolist() == [True, True, False]


def test_models_without_regimes_and_single_fits_have_none(study):
    assert regime_stability(study, "mean") is None
    short = study.between(end=study.y.index[50])
    assert len(short.refits["markov"]) == len(short.folds) == 1
    assert regime_stability(short, "markov") is None
    with pytest.raises(InvalidInputError, match="no forecasts of nothing"):
        regime_stability(study, "nothing")
