"""The laws: their oracles against brute force, their parameters against the draws, and faults."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot import synthetic
from regimeslot.errors import InvalidInputError
from regimeslot.synthetic import (
    make_argmax_regimes,
    make_break,
    make_explicit_durations,
    make_hardy,
    make_markov_regression,
    make_no_regime,
    make_recurring,
    make_smooth_transition,
    make_soft_gate,
    make_sticky,
    make_two_regimes,
    make_variance_regimes,
)

MAKERS = [getattr(synthetic, name) for name in synthetic.__all__ if name.startswith("make_")]
SIZED = [maker for maker in MAKERS if maker is not make_recurring]
CHAINS = [make_markov_regression, make_sticky, make_variance_regimes, make_hardy]


@pytest.mark.parametrize("maker", MAKERS)
def test_every_sample_is_consistent(maker):
    sample = maker(400, random_state=3) if maker in SIZED else maker(80, random_state=3)
    n, K = len(sample), sample.n_regimes
    assert sample.X.shape[0] == len(sample.y) == len(sample.regimes) == n
    assert sample.means.shape == sample.scales.shape == sample.predicted_probs.shape == (n, K)
    np.testing.assert_allclose(sample.predicted_probs.sum(1), 1, rtol=1e-9, atol=0)
    assert sample.regimes.min() >= 0
    assert sample.regimes.max() < K
    again = maker(400, random_state=3) if maker in SIZED else maker(80, random_state=3)
    np.testing.assert_array_equal(sample.y, again.y)
    other = maker(400, random_state=4) if maker in SIZED else maker(80, random_state=4)
    assert not np.array_equal(sample.y, other.y)


@pytest.mark.parametrize("maker", MAKERS)
def test_knowing_the_label_is_never_worse(maker):
    sample = maker(random_state=1)
    label = sample.label_oracle().logpdf(sample.y).mean()
    attainable = sample.filter_oracle().logpdf(sample.y).mean()
    assert label >= attainable - 1e-9


def brute_force_prediction(y, means, scales, transition, initial):
    """P(z_t | y before t) by adding up every path."""
    n, K = means.shape
    density = np.exp(-0.5 * ((y[:, None] - means) / scales) ** 2) / scales
    predicted = np.zeros((n, K))
    for t in range(n):
        for path in product(range(K), repeat=t + 1):
            weight = initial[path[0]]
            for s in range(1, t + 1):
                step = transition if transition.ndim == 2 else transition[:, :, s]
                weight = weight * density[s - 1, path[s - 1]] * step[path[s - 1], path[s]]
            predicted[t, path[t]] += weight
    return predicted / predicted.sum(1, keepdims=True)


@pytest.mark.parametrize("maker", CHAINS)
def test_filter_oracle_equals_every_path(maker):
    sample = maker(7, random_state=5)
    expected = brute_force_prediction(
        sample.y,
        sample.means,
        sample.scales,
        sample.parameters["transition"],
        sample.parameters["initial"],
    )
    np.testing.assert_allclose(sample.predicted_probs, expected, rtol=1e-9, atol=1e-12)


def test_one_stage_durations_are_the_markov_chain():
    sample = make_explicit_durations(200, mean_duration=(50, 20), stages=1, random_state=2)
    transition = sample.parameters["transition"]
    np.testing.assert_allclose(transition, [[0.98, 0.02], [0.05, 0.95]], rtol=1e-12, atol=0)


def test_stages_make_durations_regular():
    sample = make_explicit_durations(30_000, mean_duration=(60, 25), stages=6, random_state=0)
    ends = np.flatnonzero(np.diff(sample.regimes)) + 1
    lengths = np.diff(ends)
    first = lengths[sample.regimes[ends[:-1]] == 0]
    assert abs(first.mean() - 60) < 3
    # Negative binomial of six stages: variance 6 (1 - q) / q^2 with q = 6 / 60.
    assert abs(first.std() / np.sqrt(6 * 0.9 / 0.01) - 1) < 0.15


def test_the_original_law_to_the_letter():
    sample = make_two_regimes(1_000, random_state=9)
    x0, x1 = sample.X.T
    np.testing.assert_array_equal(sample.y, np.where(x0 <= x1, x0 - x1, -(x0 - x1)))
    np.testing.assert_array_equal(sample.regimes, (x0 > x1).astype(int))


def test_argmax_law_and_irrelevant_features():
    sample = make_argmax_regimes(
        5_000, n_regimes=4, n_features=3, n_irrelevant=5, noise=0.2, random_state=1
    )
    coef, gate = sample.parameters["coef"], sample.parameters["gate"]
    assert sample.X.shape == (5_000, 8)
    assert not coef[:, 3:].any()
    assert not gate[:, 3:].any()
    np.testing.assert_array_equal(sample.regimes, (sample.X @ gate.T).argmax(1))
    noise = sample.y - (sample.X * coef[sample.regimes]).sum(1)
    assert abs(noise.std() - 0.2) < 0.01


@pytest.mark.parametrize(
    ("n_regimes", "stay"), [(2, [0.9629, 0.7899]), (3, [0.9629, 0.8764, 0.7899])]
)
def test_hardy_adds_up_to_a_month(n_regimes, stay):
    daily = make_hardy(50, n_regimes=n_regimes, frequency="daily")
    monthly = make_hardy(50, n_regimes=n_regimes, frequency="monthly")
    month = np.linalg.matrix_power(daily.parameters["transition"], 20)
    np.testing.assert_allclose(np.diag(month), stay, rtol=0, atol=2e-3)
    np.testing.assert_allclose(
        20 * daily.parameters["mean"], monthly.parameters["mean"], rtol=1e-12, atol=0
    )
    np.testing.assert_allclose(
        20 * daily.parameters["std"] ** 2, monthly.parameters["std"] ** 2, rtol=1e-12, atol=0
    )


def test_student_noise_keeps_hardys_standard_deviation():
    sample = make_hardy(60_000, dof=5.0, random_state=0)
    for k, std in enumerate(sample.parameters["std"]):
        own = sample.y[sample.regimes == k]
        assert abs(own.std() / std - 1) < 0.1
    np.testing.assert_allclose(
        sample.label_oracle().std()[:1],
        sample.parameters["std"][sample.regimes[:1]],
        rtol=1e-9,
        atol=0,
    )


def test_prices_give_back_the_returns():
    sample = make_hardy(300, random_state=1)
    prices = sample.to_prices(first_price=50.0)
    assert prices["Close"].iloc[0] == 50.0
    assert prices.index.name == "Date"
    returns = np.diff(np.log(prices["Close"]))
    np.testing.assert_allclose(returns, sample.y, rtol=0, atol=1e-12)


def test_smooth_transition_has_one_mean():
    sample = make_smooth_transition(200, sharpness=50.0, random_state=2)
    np.testing.assert_array_equal(sample.means[:, 0], sample.means[:, 1])
    coef, share = sample.parameters["coef"], sample.parameters["share"]
    laws = sample.X @ coef.T
    expected = (1 - share) * laws[:, 0] + share * laws[:, 1]
    np.testing.assert_allclose(sample.means[:, 0], expected, rtol=1e-12, atol=1e-14)


def test_soft_gate_frequencies():
    sample = make_soft_gate(40_000, random_state=0)
    p = sample.predicted_probs[:, 1]
    likely = p > 0.9
    assert abs(sample.regimes[likely].mean() - p[likely].mean()) < 0.01


def test_break_and_recurrence_follow_their_schedule():
    broken = make_break(100, at=0.3)
    assert np.flatnonzero(np.diff(broken.regimes)).tolist() == [29]
    again = make_recurring(10, order="ABACA")
    assert again.regimes[::10].tolist() == [0, 1, 0, 2, 0]


def test_no_regime_has_one():
    assert make_no_regime(50).n_regimes == 1


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 40), stop=st.integers(41, 90))
def test_slices_keep_rows_together(start, stop):
    sample = make_sticky(90, random_state=0)
    part = sample[start:stop]
    assert len(part) == stop - start
    np.testing.assert_array_equal(
        part.filter_oracle().logpdf(part.y),
        sample.filter_oracle().logpdf(sample.y)[start:stop],
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_two_regimes(0), "n to be"),
        (lambda: make_two_regimes(5, noise=-1), "noise"),
        (lambda: make_two_regimes(5, n_irrelevant=-1), "n_irrelevant"),
        (lambda: make_hardy(5, n_regimes=4), "2 or 3"),
        (lambda: make_hardy(5, frequency="hourly"), "frequency"),
        (lambda: make_hardy(5, dof=2.0), "dof"),
        (lambda: make_markov_regression(5, stay=(1.0, 0.5)), "staying"),
        (lambda: make_explicit_durations(5, mean_duration=(2, 60), stages=4), "durations"),
        (lambda: make_break(5, at=1.0), "at between"),
        (lambda: make_recurring(5, order="AA"), "two or more laws"),
        (lambda: make_smooth_transition(5, sharpness=0.0), "sharpness"),
        (lambda: make_no_regime(5)[3], "slice"),
        (lambda: make_two_regimes(3_000).to_prices(), "make_hardy"),
    ],
)
def test_faults_say_what_to_do(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
