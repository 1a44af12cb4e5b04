"""The Markov model without its memory: a mixture with constant weights, all else the same."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from regimeslot.errors import InvalidInputError
from regimeslot.markov import MarkovSwitching
from regimeslot.markov.memoryless import fit_without_memory


def two_scales(n=400, seed=0):
    rng = np.random.default_rng(seed)
    wild = rng.random(n) < 0.3
    return np.where(wild, -0.5, 0.2) + np.where(wild, 3.0, 1.0) * rng.standard_normal(n)


def mixture(theta, y):
    """Log-likelihood of a mixture of two normals, written down directly."""
    share = 1.0 / (1.0 + np.exp(-theta[0]))
    both = [
        np.log(w) + norm.logpdf(y, theta[k], np.exp(theta[k + 2]))
        for k, w in ((1, share), (2, 1.0 - share))
    ]
    return float(np.logaddexp(*both).sum())


def test_it_is_the_maximum_of_the_mixture_likelihood():
    y = two_scales()
    model = MarkovSwitching(2, switching_variance=True, n_starts=6, random_state=0)
    found = fit_without_memory(model, y)
    begin = np.array([1.0, 0.2, -0.5, 0.0, 1.0])
    best = minimize(lambda theta: -mixture(theta, y), begin, method="BFGS")
    np.testing.assert_allclose(found.loglikelihood, -best.fun, rtol=0, atol=1e-4)
    share = 1.0 / (1.0 + np.exp(-best.x[0]))
    np.testing.assert_allclose(found.params["p[0->0]"], share, rtol=0, atol=2e-3)
    np.testing.assert_allclose(found.params["sigma2[0]"], np.exp(2 * best.x[3]), rtol=5e-3)
    assert found.converged


@pytest.mark.parametrize("likelihood", ["gaussian", "t"])
def test_rows_of_the_transition_are_equal_and_memory_cannot_lose_in_sample(likelihood):
    y = np.cumsum(two_scales(300, seed=3))  # with lags, so that those are part of it
    model = MarkovSwitching(
        3,
        order=2,
        form="intercept",
        switching_variance=True,
        likelihood=likelihood,
        n_starts=6,
        variance_prior=1.0,
        random_state=0,
    )
    static, markov = fit_without_memory(model, y), model.fit(y)
    np.testing.assert_allclose(
        static.transition, np.tile(static.transition[0], (3, 1)), rtol=0, atol=1e-12
    )
    assert static.loglikelihood <= markov.loglikelihood + 0.1
    assert static.params.index.equals(markov.params.index)


def test_a_refit_from_the_solution_stays_there():
    y = two_scales(300, seed=5)
    model = MarkovSwitching(2, switching_variance=True, n_starts=5, random_state=1)
    first = fit_without_memory(model, y)
    again = fit_without_memory(model, y, start=first.params)
    np.testing.assert_allclose(again.loglikelihood, first.loglikelihood, rtol=0, atol=1e-4)
    np.testing.assert_allclose(again.params, first.params, rtol=1e-2, atol=1e-3)


def test_what_would_be_memory_is_refused():
    y = two_scales(100)
    with pytest.raises(InvalidInputError, match='form="intercept"'):
        fit_without_memory(MarkovSwitching(2, order=1), y)
    with pytest.raises(InvalidInputError, match="stationary"):
        fit_without_memory(MarkovSwitching(2, initial="estimated"), y)
