"""Likelihood and exact gradient of a two-state chain, in the odds of state 1.

For two states the filter is a scalar recursion, and its denominators are the pivots of a symmetric
tridiagonal matrix, which LAPACK finds in one pass. That is several times faster than
the banded systems of :mod:`regimeslot.markov.scan`, which stay the reference and take over where
this form would lose digits. An optimiser of a two-slot model lives in here.

With p_t = P_t(0, 1), q_t = P_t(1, 1), r_t the density ratio of state 1 to 0 and x_t the filtered
odds, ``delta_t = (1 - p_t) + (1 - q_t) x_{t-1}`` and ``x_t = r_t (p_t + q_t x_{t-1}) / delta_t``:

    delta_{t+1} = [C_{t+1} + k r_t q_t] - k r_t (q_t - p_t) / delta_t,  k = D_{t+1} / D_t,

with C = 1 - p and D = 1 - q: the pivots of a matrix with that diagonal and off-diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtbsv
from scipy.linalg.lapack import dgttrf, dpttrf

__all__ = ["TwoState", "is_well_scaled", "two_state_gradient"]

Array = NDArray[np.float64]

_LARGEST_LOGIT = 16.0  # beyond it 1 - w keeps fewer than nine digits
_LARGEST_PERSISTENCE = 12.0  # log odds ratio of staying: the pivots lose digits beyond
_LARGEST_LOG_RATIO = 300.0
_SPLIT = 1e20


@dataclass(frozen=True)
class TwoState:
    """Result of :func:`two_state_gradient`.

    Attributes
    ----------
    log_likelihood : (T,)
    weights : (2, T) derivative of the weighted sum by each state's log density
    by_logit : (2, T) derivative by the log odds of moving to state 1, from state 0 and from state 1
    """

    log_likelihood: Array
    weights: Array
    by_logit: Array


def is_well_scaled(to_one: Array, persistence: float) -> bool:
    """Whether a chain is inside the range of this form: nothing extreme.

    ``to_one`` (2, T) are the probabilities of moving to state 1; ``persistence`` is the log odds
    ratio of staying, ``logit P(1, 1) - logit P(0, 1)``, the same in every row.
    """
    limit = 1.0 / (1.0 + np.exp(_LARGEST_LOGIT))
    return bool(
        abs(persistence) < _LARGEST_PERSISTENCE
        and to_one.min() > limit
        and to_one.max() < 1.0 - limit
    )


def two_state_gradient(
    log_density: Array, to_one: Array, row_weights: Array, starts: NDArray[np.intp]
) -> TwoState:
    """Weighted log-likelihood of each row and its derivatives; every series starts from (1/2, 1/2).

    Parameters
    ----------
    log_density : (2, T)
    to_one : (2, T)
        P_t(i, 1), probabilities of moving to state 1; not used at first rows.
    row_weights : (T,)
        omega of ``sum_t omega_t log p(y_t | y_<t)``.
    starts : (S,) first rows of the series laid end to end

    Returns
    -------
    TwoState

    Examples
    --------
    >>> import numpy as np
    >>> move = np.array([[0.1, 0.1], [0.8, 0.8]])
    >>> density = np.log([[0.5, 0.1], [0.5, 0.4]])
    >>> found = two_state_gradient(density, move, np.ones(2), np.array([0]))
    >>> found.weights.sum(axis=0)
    array([1., 1.])
    """
    p, q = to_one.copy()
    p[starts] = q[starts] = 0.5  # whatever came before, a first row is a coin's toss
    gain = q - p
    ratio = log_density[1] - log_density[0]
    base = log_density[0]
    if ratio.max() > _LARGEST_LOG_RATIO or ratio.min() < -_LARGEST_LOG_RATIO:
        base = base + np.maximum(ratio - _LARGEST_LOG_RATIO, 0.0)
        np.clip(ratio, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO, out=ratio)
    np.exp(ratio, out=ratio)

    stay, leave = 1.0 - p, 1.0 - q
    growth = leave[1:] / leave[:-1]
    growth *= ratio[:-1]
    diagonal = stay.copy()
    diagonal[0] += leave[0]
    diagonal[1:] += growth * q[:-1]
    growth *= gain[:-1]
    pivots = _pivots(diagonal, growth)
    before = pivots - stay  # odds of the row before, with the digits that subtraction leaves
    before /= leave
    before[0] = 1.0
    odds = (p + q * before) * ratio / pivots  # one step of the recursion restores them
    before[1:] = odds[:-1]
    predicted = (p + q * before) / (1.0 + before)

    mass = 1.0 + (ratio - 1.0) * predicted
    log_likelihood = np.log(mass) + base
    filtered = predicted * ratio / mass
    direct = row_weights * (ratio - 1.0) / mass
    carry = ratio / (mass * mass)
    carry[:-1] *= gain[1:]

    # by_w_t = direct_t + carry_t by_w_{t+1}: a unit upper bidiagonal system
    system = np.ones((2, len(p)), order="F")
    np.negative(carry[:-1], out=system[0, 1:])
    by_predicted = dtbsv(1, system, direct, diag=1)

    weights = np.empty_like(log_density)
    later = np.zeros_like(p)
    np.multiply(gain[1:], by_predicted[1:], out=later[:-1])
    np.multiply(later * (1.0 - filtered) + row_weights, filtered, out=weights[1])
    np.subtract(row_weights, weights[1], out=weights[0])

    by_predicted[starts] = 0.0
    by_logit = np.empty_like(to_one)
    np.multiply(by_predicted[1:], filtered[:-1], out=by_logit[1, 1:])
    by_logit[1, 0] = 0.0
    np.subtract(by_predicted, by_logit[1], out=by_logit[0])
    by_logit[0] *= p * stay
    by_logit[1] *= q * leave
    return TwoState(log_likelihood, weights, by_logit)


def _pivots(diagonal: Array, product: Array) -> Array:
    """``delta_{t+1} = diagonal_{t+1} - product_t / delta_t``; overwrites its arguments."""
    if product.min(initial=0.0) >= 0.0:  # a persistent chain: symmetric positive definite
        off = np.sqrt(product, out=product)
        return np.asarray(dpttrf(diagonal, off, overwrite_d=1, overwrite_e=1)[0])
    # The product of the off-diagonals is negative, and all that enters: split so that no row of
    # the general factorisation is ever exchanged.
    below = np.full(len(product), 1.0 / _SPLIT)
    product *= _SPLIT
    return np.asarray(dgttrf(below, diagonal, product, 1, 1, 1)[1])
