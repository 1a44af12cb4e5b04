"""Tail scores against scipy's integrals, scoringrules' closed forms, and propriety."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison_tails import censored_log_score, threshold_weighted_crps
from regimeslot.forecast import MixtureForecast

BORDERS = [{"below": -0.7}, {"above": 0.9}, {"below": -0.7, "above": 0.9}, {"below": 2.5}]


@pytest.fixture
def mixture() -> MixtureForecast:
    n = 6
    weights = np.tile([0.7, 0.3], (n, 1))
    return MixtureForecast(weights, [0.1, -0.5], [0.6, 2.0], [6.0, 2.3], [0.2, -0.3])


Y = np.array([-6.0, -0.9, -0.2, 0.4, 1.2, 5.0])


@pytest.mark.parametrize("tails", BORDERS)
def test_censored_log_score_is_its_definition(mixture, tails) -> None:
    score = censored_log_score(mixture, Y, **tails)
    low, high = tails.get("below", -np.inf), tails.get("above", np.inf)
    for i, y in enumerate(Y):
        if y <= low or y >= high:
            wanted = mixture.logpdf(Y)[i]
        else:
            borders = (max(low, -400.0), min(high, 400.0))
            inside = 0.0
            if low == -np.inf or high == np.inf:
                tail = (-np.inf, low) if high == np.inf else (high, np.inf)
                inside = 1 - integrate.quad(lambda x: mixture[0].pdf(x)[0], *tail)[0]
            else:
                inside = integrate.quad(lambda x: mixture[0].pdf(x)[0], *borders, epsabs=1e-12)[0]
            wanted = np.log(inside)
        assert_allclose(score[i], wanted, rtol=1e-6, atol=1e-8)


def test_censored_log_score_of_a_normal_is_that_of_scipy() -> None:
    f = MixtureForecast(np.ones((3, 1)), 0.2, 1.5, np.inf)
    y = np.array([-3.0, 0.0, 4.0])
    normal = stats.norm(0.2, 1.5)
    wanted = [normal.logpdf(-3.0), normal.logsf(-1.0), normal.logsf(-1.0)]
    assert_allclose(censored_log_score(f, y, below=-1.0), wanted, rtol=1e-9)
    wanted = [normal.logcdf(1.0), normal.logcdf(1.0), normal.logpdf(4.0)]
    assert_allclose(censored_log_score(f, y, above=1.0), wanted, rtol=1e-9)
    # nearly all of the mass is in the tail: its complement keeps its digits
    far = censored_log_score(f[:1], [50.0], below=20.0)
    assert_allclose(far, normal.logsf(20.0), rtol=1e-9)


@pytest.mark.parametrize("tails", BORDERS)
def test_threshold_weighted_crps_is_its_integral(mixture, tails) -> None:
    score = threshold_weighted_crps(mixture, Y, **tails)
    low, high = tails.get("below", -np.inf), tails.get("above", np.inf)
    for i, y in enumerate(Y):

        def squared(x: float, y: float = y) -> float:
            return float((mixture[0].cdf(x)[0] - (y <= x)) ** 2)

        wanted = 0.0
        for begin, end in ((-np.inf, low), (high, np.inf)):
            if begin == end:
                continue
            cuts = [c for c in (y,) if begin < c < end]
            edges = [begin, *cuts, end]
            for a, b in itertools.pairwise(edges):
                wanted += integrate.quad(squared, a, b, epsabs=1e-11, epsrel=1e-9, limit=400)[0]
        assert_allclose(score[i], wanted, rtol=1e-6, atol=1e-9)


def test_threshold_weighted_crps_of_a_normal_is_that_of_scoringrules() -> None:
    """Beyond a border it is the CRPS of the censored normal and the censored outcome."""
    from scoringrules import crps_cnormal

    y = np.array([-2.0, 0.5, 1.5, 4.0])
    f = MixtureForecast(np.ones((4, 1)), 0.3, 1.2, np.inf)
    wanted = crps_cnormal(np.maximum(y, 1.0), 0.3, 1.2, lower=1.0)
    assert_allclose(threshold_weighted_crps(f, y, above=1.0), wanted, rtol=1e-7)
    wanted = crps_cnormal(np.minimum(y, 1.0), 0.3, 1.2, upper=1.0)
    assert_allclose(threshold_weighted_crps(f, y, below=1.0), wanted, rtol=1e-7)


def test_two_halves_are_the_whole_score(mixture) -> None:
    border = np.linspace(-2.0, 2.0, 6)
    halves = threshold_weighted_crps(mixture, Y, below=border)
    halves = halves + threshold_weighted_crps(mixture, Y, above=border)
    assert_allclose(halves, mixture.crps(Y), rtol=1e-6)


@pytest.mark.parametrize("dof", [0.6, 1.0, 2.1, np.inf])
def test_heavy_tails_and_spikes(dof: float) -> None:
    f = MixtureForecast([0.5, 0.5], [0.0, 3.0], [1e-3, 1.0], dof)
    halves = [threshold_weighted_crps(f, [0.5], **{side: 1.0}) for side in ("below", "above")]
    assert_allclose(sum(halves), f.crps(0.5), rtol=1e-5)


def test_no_mean_is_infinite() -> None:
    f = MixtureForecast(1.0, 0.0, 1.0, 0.4)
    assert np.isinf(threshold_weighted_crps(f, [0.0], below=-1.0)).all()


def test_the_truth_scores_best_in_the_tail() -> None:
    """The log score of tail rows alone prefers the wide forecast; the censored one does not."""
    y = np.random.default_rng(3).standard_normal(3000)
    truth, wide = (MixtureForecast(np.ones((y.size, 1)), 0.0, s, np.inf) for s in (1.0, 1.6))
    tail = y <= -1.0
    assert wide.logpdf(y)[tail].mean() > truth.logpdf(y)[tail].mean()
    for score, sign in ((censored_log_score, 1.0), (threshold_weighted_crps, -1.0)):
        gain = sign * (score(truth, y, below=-1.0) - score(wide, y, below=-1.0))
        assert gain.mean() > 0.0


def test_faults(mixture) -> None:
    with pytest.raises(InvalidInputError, match="give below"):
        censored_log_score(mixture, Y)
    with pytest.raises(InvalidInputError, match="smaller than above"):
        censored_log_score(mixture, Y, below=1.0, above=0.0)
    with pytest.raises(InvalidInputError, match="below must be"):
        threshold_weighted_crps(mixture, Y, below=np.zeros(3))
    with pytest.raises(InvalidInputError, match="one value per forecast"):
        threshold_weighted_crps(mixture, Y[:2], below=0.0)
    dated = MixtureForecast(np.ones((2, 1)), 0.0, 1.0, 5.0, index=pd.RangeIndex(2))
    with pytest.raises(InvalidInputError, match="same index"):
        censored_log_score(dated, pd.Series([0.0, 1.0], index=[5, 6]), below=0.0)
