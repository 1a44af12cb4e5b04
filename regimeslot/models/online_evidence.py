r"""Normal-inverse-gamma statistics of a linear law, as pure functions.

A law :math:`y = w'z + e` with noise variance :math:`\sigma^2` has the prior
:math:`w \mid \sigma^2 \sim N(w_0, \sigma^2 \Lambda_0^{-1})`,
:math:`\sigma^2 \sim IG(a_0, b_0)`. Rows (z, y) with weights r give a posterior of the same form.
Several outputs share :math:`\Lambda` and a; each has its own w and b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln

__all__ = ["Law", "joined", "log_evidence", "log_student"]

Array = NDArray[np.float64]

_LOG_PI = float(np.log(np.pi))


class Law(NamedTuple):
    """Prior or posterior of one linear law with d coefficients and p outputs."""

    precision: Array  # (d, d), Lambda
    coef: Array  # (p, d), w
    shape: float  # a
    rate: Array  # (p,), b


def log_student(error: Array, spread: Array, half: Array, constant: Array) -> Array:
    r"""Log density of the predictive Student-t, 2a degrees of freedom.

    .. math:: \log\frac{\Gamma(a + 1/2)}{\Gamma(a)} - \frac12 \log(\pi D)
              - (a + 1/2) \log(1 + e^2 / D), \qquad D = 2 b (1 + z' \Lambda^{-1} z)

    ``half`` is a + 1/2 and ``constant`` the log ratio of gamma functions.
    """
    return constant - 0.5 * (_LOG_PI + np.log(spread)) - half * np.log1p(error * error / spread)


def log_evidence(prior: Law, posterior: Law) -> float:
    r"""Log marginal likelihood of the rows between prior and posterior, summed over outputs.

    .. math:: \frac12 \log\frac{|\Lambda_0|}{|\Lambda|} + \log\frac{\Gamma(a)}{\Gamma(a_0)}
              + a_0 \log b_0 - a \log b - (a - a_0) \log 2\pi

    Rows that count in part, or are forgotten in part, count as their weights' sum 2 (a - a_0).
    """
    n_outputs = len(prior.rate)
    determinants = np.linalg.slogdet(prior.precision)[1] - np.linalg.slogdet(posterior.precision)[1]
    gammas = gammaln(posterior.shape) - gammaln(prior.shape)
    each = 0.5 * determinants + gammas - (posterior.shape - prior.shape) * np.log(2 * np.pi)
    rates = prior.shape * np.log(prior.rate) - posterior.shape * np.log(posterior.rate)
    return float(n_outputs * each + rates.sum())


def joined(first: Law, second: Law, second_prior: Law) -> Law:
    """Posterior of all rows of two laws under the prior of the first.

    Coefficients are measured from those of the first, so that nothing large cancels.
    """
    precision = first.precision + second.precision - second_prior.precision
    apart = second.coef - first.coef
    prior_apart = second_prior.coef - first.coef
    pull = apart @ second.precision - prior_apart @ second_prior.precision
    move = cho_solve(cho_factor(precision), pull.T).T
    gap = (
        np.einsum("pd,de,pe->p", apart, second.precision, apart)
        - np.einsum("pd,de,pe->p", prior_apart, second_prior.precision, prior_apart)
        - np.einsum("pd,pd->p", move, pull)
    )
    rate = first.rate + np.maximum(second.rate - second_prior.rate + 0.5 * gap, 0.0)
    shape = first.shape + second.shape - second_prior.shape
    return Law(precision, first.coef + move, shape, rate)
