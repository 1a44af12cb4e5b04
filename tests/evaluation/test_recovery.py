"""Recovery measures against brute force, scikit-learn and hand-made cases; the study's plumbing."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation import recovery, validation_experiments
from regimeslot.evaluation.validation import Check, Validation, run_validation
from regimeslot.evaluation.validation_picture import draw
from regimeslot.forecast import MixtureForecast

labels = st.lists(st.integers(0, 3), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(true=labels, data=st.data())
def test_matching_is_the_best_permutation(true, data):
    guess = data.draw(st.lists(st.integers(0, 3), min_size=len(true), max_size=len(true)))
    # Every label occurs, so that permutations are the whole choice.
    true, guess = np.array([*true, 0, 1, 2, 3]), np.array([*guess, 0, 1, 2, 3])
    found = recovery.accuracy(true, recovery.match_labels(true, guess)[guess])
    best = max(np.mean(true == np.array(order)[guess]) for order in permutations(range(4)))
    assert found == pytest.approx(best, rel=0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(true=labels, data=st.data())
def test_rand_index_agrees_with_scikit_learn(true, data):
    guess = data.draw(st.lists(st.integers(0, 3), min_size=len(true), max_size=len(true)))
    ours = recovery.adjusted_rand_index(true, guess)
    assert ours == pytest.approx(adjusted_rand_score(true, guess), rel=0, abs=1e-12)


def test_spare_slots_join_the_regime_they_met():
    true = np.array([0] * 10 + [1] * 10)
    guess = np.array([2] * 8 + [1] * 2 + [0] * 10)
    assert recovery.match_labels(true, guess).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("model", "linear", "oracle", "expected"),
    [(0.2, 1.0, 0.2, 1.0), (1.0, 1.0, 0.2, 0.0), (-1.1, -2.0, -1.0, 0.9), (1.8, 1.0, 0.2, -1.0)],
)
def test_gap_closed(model, linear, oracle, expected):
    value = recovery.gap_closed(model, linear, oracle)
    assert value == pytest.approx(expected, rel=0, abs=1e-12)


def test_no_gap_is_refused():
    with pytest.raises(InvalidInputError, match="no regimes"):
        recovery.gap_closed(1.0, 1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), K=st.integers(2, 4), spare=st.integers(0, 2))
def test_weight_error_ignores_order_and_spare_slots(seed, K, spare):
    rng = np.random.default_rng(seed)
    truth = 10 * rng.standard_normal((K, 3))
    shifted = truth + 0.01 * np.sign(rng.standard_normal((K, 3)))
    slots = np.vstack([shifted, 1000 + rng.standard_normal((spare, 3))])
    order = rng.permutation(len(slots))
    assert recovery.weight_error(truth, slots[order]) <= 0.01 + 1e-9
    _, found = recovery.match_slots(truth, slots[order])
    np.testing.assert_array_equal(slots[order][found], shifted)


def test_gate_angle_counts_direction_alone():
    truth = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert recovery.gate_angle(truth, 1e9 * truth) == pytest.approx(0, abs=1e-6)
    assert recovery.gate_angle(truth, -truth) == pytest.approx(180, abs=1e-5)
    turn = np.radians(0.001)
    turned = truth @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    assert recovery.gate_angle(truth, turned) == pytest.approx(0.001, rel=1e-6)
    swapped = recovery.gate_angle(truth, truth[::-1], laws=[0, 1], slots=[1, 0])
    assert swapped == pytest.approx(0, abs=1e-6)


def test_slot_counts():
    assert recovery.effective_number([1, 1, 0]) == pytest.approx(2, rel=1e-12)
    assert recovery.effective_number([1.0, 0.0]) == pytest.approx(1, rel=1e-12)
    assert recovery.slots_found([0.5, 0.49, 0.01]) == 2


def test_switch_delay_and_false_switches():
    true = np.repeat([0, 1, 0], [4, 4, 2])
    guess = np.array([0, 1, 0, 0, 0, 0, 1, 1, 1, 1])
    # The first switch is seen two rows late; the second never, and its spell has two rows.
    assert recovery.switch_delay(true, guess) == 2.0
    assert recovery.false_switches_per_thousand(true, guess) == 100.0
    assert np.isnan(recovery.switch_delay([0, 0], [0, 1]))


def test_calibration_error():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(4_000)
    ones, zeros = np.ones((4_000, 1)), np.zeros((4_000, 1))
    right = MixtureForecast(ones, zeros, ones, np.inf)
    wide = MixtureForecast(ones, zeros, 3 * ones, np.inf)
    assert recovery.calibration_error(right, y) < 0.03
    assert recovery.calibration_error(wide, y) > 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recovery.accuracy([0, 1], [0]), "same length"),
        (lambda: recovery.accuracy([0.5, 1], [0, 1]), "labels"),
        (lambda: recovery.match_labels([0, -1], [0, 1]), "labels"),
        (lambda: recovery.weight_error([[1, 2]], [[1]]), "coefficients"),
        (lambda: recovery.weight_error([[1], [2]], [[1]]), "as many"),
        (lambda: recovery.gate_angle([[1, 0]], [[1, 0]]), "two gates"),
        (lambda: recovery.effective_number([0.0, 0.0]), "shares"),
        (lambda: run_validation(seeds=0), "seeds"),
    ],
)
def test_faults(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_checks_know_their_direction():
    assert Check("small", 0.5, 1.0, at_most=True).passed
    assert not Check("large", 0.5, 1.0, at_most=False).passed
    assert not Check("missing", float("nan"), 1.0, at_most=True).passed


@pytest.fixture
def short_study(monkeypatch):
    """The whole study on rows so few that it takes seconds; its figures mean nothing."""
    monkeypatch.setattr(validation_experiments, "_TRAIN", 200)
    monkeypatch.setattr(validation_experiments, "_HALF", 150)
    monkeypatch.setattr(validation_experiments, "_QUICK_EPOCHS", 1)
    monkeypatch.setattr(validation_experiments, "_ADAM_STEPS", 5)
    monkeypatch.setattr(validation_experiments, "_STARTS", 1)


@pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")
def test_study_runs_and_explains_itself(short_study, tmp_path):
    seen = []
    result = run_validation(quick=True, seeds=1, progress=lambda *step: seen.append(step))
    assert isinstance(result, Validation)
    assert [done for done, _, _ in seen] == list(range(seen[0][1] + 1))
    assert set(result.tables) == set(result.summary()["experiment"])
    document = json.loads(json.dumps(result.to_dict()))
    assert len(document["checks"]) == len(result.checks) == 14
    draw(result, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
