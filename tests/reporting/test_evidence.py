import numpy as np
import pytest

from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.reporting.calibration import pit_section, var_section
from regimeslot.reporting.evidence import (
    attribution,
    difference,
    regime_sentence,
    regime_value,
    scores_table,
    trust,
)
from regimeslot.reporting.view import View, view_of

N = 400


@pytest.fixture
def outcomes():
    return 0.01 * np.random.default_rng(3).standard_normal(N)


@pytest.fixture
def wide_and_right(study_of, normal, outcomes):
    """A baseline that is far too wide, and a model that is right."""
    return study_of(outcomes, {"gjr-garch": normal(N, 0.03), "slots-sticky": normal(N)})


def test_difference_is_the_diebold_mariano_test_with_its_interval(wide_and_right):
    view = view_of(wide_and_right)
    d = difference(view, "slots-sticky", "gjr-garch")
    scores = wide_and_right.log_scores()
    test = diebold_mariano(-scores["gjr-garch"], -scores["slots-sticky"])
    assert d.gain == pytest.approx(test.mean_difference, rel=1e-12)
    assert d.t == pytest.approx(test.t, rel=1e-12)
    assert d.low < d.gain < d.high
    # The interval leaves out zero exactly where p is below 5 %.
    assert (d.low > 0) == (test.p < 0.05)
    gains = scores["slots-sticky"] - scores["gjr-garch"]
    assert d.won == pytest.approx(float((gains > 0).mean()), rel=1e-12)


def test_trust_is_green_only_where_the_gain_is_more_than_chance(study_of, normal, outcomes):
    better = study_of(outcomes, {"gjr-garch": normal(N, 0.03), "slots-sticky": normal(N)})
    worse = study_of(outcomes, {"gjr-garch": normal(N), "slots-sticky": normal(N, 0.03)})
    same = study_of(outcomes, {"gjr-garch": normal(N), "slots-sticky": normal(N, 0.01, 1e-6)})
    levels = [trust(view_of(s)) for s in (better, worse, same)]
    assert [part["level"] for part in levels] == ["good", "bad", "bad"]
    assert [part["headline"].split()[0] for part in levels] == ["Better", "Worse", "Not"]
    assert "includes zero" in levels[2]["meaning"]


def test_trust_without_a_baseline_says_how_to_get_one(study_of, normal, outcomes):
    part = trust(view_of(study_of(outcomes, {"slots-sticky": normal(N)})))
    assert "gjr-garch" in part["missing"]


def switching(study_of, outcomes, normal, sticky, static=0.0101):
    return study_of(
        outcomes,
        {
            "gjr-garch": normal(N, 0.02),
            "slots-single": normal(N, 0.012),
            "slots-static": normal(N, static),
            "slots-markov": normal(N, static),
            "slots-sticky": sticky,
        },
    )


def test_no_regimes_found_is_said_in_words(study_of, normal, outcomes):
    study = switching(study_of, outcomes, normal, normal(N, 0.01005))
    view = view_of(study)
    part = regime_value(view)
    assert part["title"].startswith("No regimes found")
    words = [row[-1].text for row in part["table"].rows]
    assert words[:-1] == ["no regimes found"] * (len(words) - 1)
    # Over one expert the gain is large, but constant weights have it too: not a regime gain.
    assert "not regimes" in words[-1]
    assert regime_sentence(view).startswith("No regimes found")
    assert "may be chance" in attribution(view)["title"]


def test_regimes_that_pay_are_said_too(study_of, normal):
    rng = np.random.default_rng(5)
    std = np.where(np.arange(N) < N // 2, 0.004, 0.02)
    y = std * rng.standard_normal(N)
    study = switching(study_of, y, normal, normal(N, std[:, None]), static=0.014)
    view = view_of(study)
    assert regime_value(view)["title"].startswith("Switching regimes pays")
    assert regime_sentence(view).startswith("Regimes add")


def test_regimes_that_cost_are_said_too(study_of, normal, outcomes):
    study = switching(study_of, outcomes, normal, normal(N, 0.03))
    assert regime_sentence(view_of(study)).startswith("Regimes cost")
    assert "costs" in {row[-1].text for row in regime_value(view_of(study))["table"].rows}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (("gjr-garch",), "No regime model was run"),
        (("slots-static",), "slots-static is the control, whose weights are constant"),
        (("markov",), "add slots-sticky and slots-static"),
        (("slots-softmax",), "the control was not run (add slots-static)"),
        (("markov-t",), "the control was not run (add mixture-t)"),
        (("markov-t", "mixture-t"), "No regimes found: switching adds"),
        (("slots-sticky", "markov-t", "mixture-t"), "to the same regimes without memory"),
        (("slots-single", "markov-t", "mixture-t", "mean"), "No regimes found"),
    ],
)
def test_what_is_known_of_regimes_follows_from_what_was_run(
    models, said, study_of, normal, outcomes
):
    study = study_of(outcomes, {name: normal(N, 0.01 + 1e-6 * k) for k, name in enumerate(models)})
    assert said in regime_sentence(view_of(study))


def test_memory_without_features_is_no_more_than_what_they_tell(study_of, normal):
    std = np.where(np.arange(N) < N // 2, 0.004, 0.02)
    y = std * np.random.default_rng(5).standard_normal(N)
    study = study_of(y, {"markov-t": normal(N, std[:, None]), "mixture-t": normal(N, 0.014)})
    said = regime_sentence(view_of(study))
    assert said.startswith("Regimes add")
    assert said.endswith("; volatility features tell much of the same.")


def test_a_model_without_regimes_gains_nothing_by_them(study_of, normal, outcomes):
    names = ("slots-single", "slots-static", "slots-sticky")
    view = view_of(study_of(outcomes, {n: normal(N) for n in names}))
    alone = View(view.study, None, "slots-single", None)
    said = "None of it is regimes: slots-single has none (in slots-sticky they add "
    assert regime_sentence(alone).startswith(said)


@pytest.mark.parametrize(
    ("wide", "said"), [(0.015, "% more"), (0.05, "3.1 times the"), (1e12, "e+13 times the")]
)
def test_a_gain_is_a_ratio_of_densities(wide, said, study_of, normal, outcomes):
    study = study_of(outcomes, {"gjr-garch": normal(N, wide), "slots-sticky": normal(N)})
    assert said in trust(view_of(study))["meaning"]


def test_memory_without_features_has_its_rows_and_its_caution(study_of, normal, outcomes):
    names = ("slots-single", "slots-static", "slots-sticky", "markov-t", "mixture-t")
    study = study_of(outcomes, {n: normal(N, 0.01 + 1e-6 * k) for k, n in enumerate(names)})
    part = regime_value(view_of(study))
    shown = [row[1].text for row in part["table"].rows]
    assert "markov-t over mixture-t" in shown
    assert "slots-single + markov-t over slots-single + mixture-t" in shown
    assert any("own-volatility features" in note for note in part["notes"])


def test_steps_of_the_attribution_add_up(run):
    view = view_of(run)
    part = attribution(view)
    total = difference(view, view.main, view.reference).gain
    assert sum(step["gain"] for step in part["parts"]) == pytest.approx(total, rel=1e-9)
    assert [step["regimes"] for step in part["parts"]] == [False, False, True, False]


def test_only_rows_whose_models_were_run_are_shown(study_of, normal, outcomes):
    study = study_of(outcomes, {"slots-static": normal(N), "slots-markov": normal(N, 0.011)})
    part = regime_value(view_of(study))
    assert [row[1].text for row in part["table"].rows] == ["slots-markov over slots-static"]
    assert any("slots-softmax" in note for note in part["notes"])
    alone = study_of(outcomes, {"mean": normal(N)})
    assert "slots-static" in regime_value(view_of(alone))["missing"]


def test_best_of_each_column_is_strong_and_failures_are_printed(study_of, normal, outcomes):
    study = study_of(
        outcomes,
        {"gjr-garch": normal(N, 0.03), "slots-sticky": normal(N)},
        failures={"egarch-skewt": "it did not converge"},
    )
    part = scores_table(view_of(study))
    first = part["table"].rows[0]
    assert first[0].text == "slots-sticky"
    assert first[1].strong
    assert part["failures"] == ["egarch-skewt could not be run: it did not converge"]
    assert part["title"] == "slots-sticky has the best log score of 2 models"


def test_one_model_is_not_the_best_of_one(study_of, normal, outcomes):
    part = scores_table(view_of(study_of(outcomes, {"slots-sticky": normal(N)})))
    assert part["title"] == "Scores of slots-sticky"
    assert not any(cell.strong for row in part["table"].rows for cell in row)
    assert "in bold" not in " ".join(part["notes"])


def test_pit_says_whether_the_forecasts_are_calibrated(study_of, normal, outcomes):
    right = pit_section(view_of(study_of(outcomes, {"slots-sticky": normal(N)})))
    wide = pit_section(view_of(study_of(outcomes, {"slots-sticky": normal(N, 0.03)})))
    assert right["title"].startswith("Calibrated")
    assert wide["title"].startswith("Not fully calibrated (p below 0.001)")


def test_pit_verdict_has_the_right_size(study_of, normal):
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(200):
        study = study_of(0.01 * rng.standard_normal(N), {"mean": normal(N)})
        rejected += pit_section(view_of(study))["title"].startswith("Not")
    # 5 % nominal; three binomial standard errors of 200 trials.
    assert 0.005 <= rejected / 200 <= 0.095


def test_coverage_is_printed_raw_and_adapted(study_of, normal, outcomes):
    part = var_section(view_of(study_of(outcomes, {"slots-sticky": normal(N, 0.005)})))
    assert "too many" in part["title"]
    for row in part["table"].rows:
        raw, adapted, level = (float(row[k].text.split()[0]) for k in (2, 5, 0))
        assert abs(adapted - level) < abs(raw - level)
