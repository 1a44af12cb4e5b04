"""The table that separates regimes from what comes with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from regimeslot.evaluation.comparison import diebold_mariano, score_difference
from regimeslot.evaluation.regime_value import REGIME_MODELS, regime_value
from regimeslot.evaluation.walk_forward import Study
from regimeslot.features import Dataset
from regimeslot.forecast import MixtureForecast
from regimeslot.windows import Fold

N = 400


def study_of(y: np.ndarray, stds: dict[str, float | np.ndarray], horizon: int = 1) -> Study:
    """A study whose forecasts are normal with given standard deviations, after ten other rows."""
    index = pd.bdate_range("2020-01-01", periods=N + 10)
    series = pd.Series(np.concatenate([np.zeros(10), y]), index=index)
    features = pd.DataFrame({"x": np.zeros(N + 10)}, index=index)
    dataset = Dataset(features, series, horizon, "log-return", "given", series)
    forecasts = {
        name: MixtureForecast(
            np.ones((N, 1)), 0.0, np.broadcast_to(std, (N,))[:, None], np.inf, index=index[10:]
        )
        for name, std in stds.items()
    }
    return Study(dataset, (Fold(slice(0, 10), slice(10, N + 10)),), forecasts, {})


@pytest.fixture
def outcomes() -> np.ndarray:
    return 0.01 * np.random.default_rng(3).standard_normal(N)


def test_each_question_is_diebold_mariano_of_its_pair(outcomes) -> None:
    stds = dict(zip(REGIME_MODELS, (0.012, 0.0101, 0.0102, 0.0103, 0.01), strict=True))
    study = study_of(outcomes, stds, horizon=5)
    table = regime_value(study).to_frame()
    assert [tuple(pair) for pair in table[["model", "against"]].to_numpy()] == [
        ("slots-markov", "slots-static"),
        ("slots-sticky", "slots-softmax"),
        ("slots-softmax", "slots-static"),
        ("slots-sticky", "slots-markov"),
        ("slots-sticky", "slots-static"),
        ("slots-sticky", "slots-single"),
    ]
    scores = study.log_scores()
    for row in table.itertuples():
        test = diebold_mariano(-scores[row.against], -scores[row.model], horizon=5)
        assert_allclose([row.gain, row.t, row.p], [test.mean_difference, test.t, test.p])
        assert row.low < row.gain < row.high


def test_no_regimes_found_is_said_in_words(outcomes) -> None:
    stds = dict(zip(REGIME_MODELS, (0.012, 0.0101, 0.0101, 0.0101, 0.01005), strict=True))
    value = regime_value(study_of(outcomes, stds))
    assert value.verdict == "No regimes found: switching has t of 2 in none of 5 comparisons"
    words = [row.words for row in value.rows]
    assert words[:-1] == ["no regimes found"] * 5
    # Over one expert the gain is large, but constant weights have it too: not a regime gain.
    assert words[-1] == "pays, but constant weights pay as much: not regimes"


def test_regimes_that_pay_and_that_cost() -> None:
    std = np.where(np.arange(N) < N // 2, 0.004, 0.02)
    y = std * np.random.default_rng(5).standard_normal(N)
    held = {"slots-single": 0.013, "slots-static": 0.014, "slots-sticky": std}
    value = regime_value(study_of(y, held))
    assert value.verdict == "Switching regimes pays in 1 of 1 comparisons on the same experts"
    assert [row.words for row in value.rows] == ["pays", "pays"]
    assert value.absent == ("slots-softmax (a gate without memory)",)
    worse = regime_value(study_of(y, held | {"slots-sticky": 0.05}))
    assert worse.verdict.startswith("No regimes found")
    assert [row.words for row in worse.rows] == ["costs", "costs"]


def test_what_was_not_run_is_not_answered(outcomes) -> None:
    nothing = regime_value(study_of(outcomes, {"linear": 0.01}))
    assert nothing.rows == ()
    assert nothing.verdict.startswith("Whether regimes pay is not known")
    assert nothing.to_frame().empty
    only_net = regime_value(study_of(outcomes, {"slots-single": 0.012, "slots-sticky": 0.01}))
    assert only_net.rows[0].words == "pays, but constant weights pay as much: not regimes"


def test_interval_of_a_difference_leaves_out_zero_where_p_is_small(outcomes) -> None:
    rng = np.random.default_rng(9)
    for shift in (0.0, 0.05, 0.1, 0.2):
        a, b = rng.standard_normal((2, 300)) + np.array([[shift], [0.0]])
        d = score_difference(a, b)
        assert (d.low > 0 or d.high < 0) == (d.p < 0.05)
        assert_allclose(d.won, np.mean(a > b), rtol=1e-12)
    same = score_difference(a, a)
    assert (same.gain, same.t, same.found) == (0.0, 0.0, False)


WILD = np.where(np.arange(N) % 200 < 100, 0.004, 0.02)


@pytest.fixture
def moving() -> np.ndarray:
    return WILD * np.random.default_rng(5).standard_normal(N)


def test_memory_alone_is_shown_without_features(moving) -> None:
    # A chain that knows the scale half of the time; features know it nearly as well.
    held = {"slots-single": 1.02 * WILD, "markov-t": 1.3 * WILD, "mixture-t": 0.014}
    value = regime_value(study_of(moving, held))
    table = value.to_frame()
    assert table["features"].tolist() == [False] * 4
    pool = "slots-single + markov-t"
    assert table["model"].tolist() == ["markov-t", "markov-t", pool, pool]
    twin = "slots-single + mixture-t"
    assert table["against"].tolist() == ["mixture-t", "slots-single", twin, "slots-single"]
    assert table["words"].tolist()[:2] == ["pays", "costs"]
    assert value.verdict.startswith("Without features memory pays (t ")
    assert value.verdict.endswith("), but not over, nor beside, an expert with features")
    useful = regime_value(study_of(moving, held | {"slots-single": 0.03})).verdict
    assert useful.endswith(")")
    assert value.absent == (
        "slots-static (two experts with constant weights)",
        "slots-softmax (a gate without memory)",
    )


def test_the_pool_beside_an_expert_is_the_mean_of_the_densities(moving) -> None:
    held = {"slots-single": 1.1 * WILD, "markov-t": 1.3 * WILD, "mixture-t": 0.014}
    study = study_of(moving, held)
    row = regime_value(study).rows[-2].difference
    densities = np.exp(study.log_scores())
    gains = np.log((densities["slots-single"] + densities["markov-t"]) / 2) - np.log(
        (densities["slots-single"] + densities["mixture-t"]) / 2
    )
    assert_allclose(row.gain, gains.mean(), rtol=1e-9)
    over = np.log((densities["slots-single"] + densities["markov-t"]) / 2)
    alone = regime_value(study).rows[-1].difference
    expected = (over - np.log(densities["slots-single"])).mean()
    assert_allclose(alone.gain, expected, rtol=1e-9)


def test_without_memory_a_gain_over_one_expert_is_not_one_of_regimes(outcomes) -> None:
    held = {"slots-single": 0.013, "markov-t": 0.01, "mixture-t": 0.01001}
    value = regime_value(study_of(outcomes, held))
    assert value.rows[0].words == "no regimes found"
    assert value.rows[1].words == "pays, but constant weights pay as much: not regimes"
    assert value.verdict.startswith("No regimes found: without features memory adds nothing (t ")


def test_verdicts_with_and_without_features_stand_side_by_side(moving) -> None:
    held = {"slots-static": WILD, "slots-sticky": 1.0001 * WILD}
    value = regime_value(study_of(moving, held | {"markov-t": 1.3 * WILD, "mixture-t": 0.014}))
    assert value.verdict.startswith(
        "No regimes found: switching has t of 2 in none of 1 comparisons; "
        "without features memory pays (t "
    )
    twin_only = regime_value(study_of(moving, held | {"mixture-t": 0.014}))
    assert not any(not row.features for row in twin_only.rows)
    alone = regime_value(study_of(moving, {"markov-t": 0.014}))
    assert alone.absent[-1] == "mixture-t (markov-t without its memory)"
