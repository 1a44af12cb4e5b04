"""The selector of the online slots: which law is in force, as pure functions of a few numbers.

Probabilities are lists of Python floats: there are few slots, and one row at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["WIDE_DOF", "WIDE_SHAPE", "gate", "move", "outlier_rates", "wide_log_density"]

WIDE_SHAPE = 1.5  # of what nothing is known of; three degrees of freedom still have a variance
WIDE_DOF = 2.0 * WIDE_SHAPE
_HALF = WIDE_SHAPE + 0.5
_CONSTANT = math.lgamma(_HALF) - math.lgamma(WIDE_SHAPE) - 0.5 * math.log(math.pi)
_GATE_ROWS = 100.0  # rows after which a slot's own view of the features counts half


def move(
    probs: Sequence[float],
    likely: Sequence[float],
    leave: float,
    new: float,
    candidate_leave: float,
) -> tuple[list[float], list[float], float]:
    r"""One step of the chain: filtered probabilities to predicted ones.

    .. math:: \pi_j = \sum_i \alpha_i \frac{A_{ij} g_j}{\sum_l A_{il} g_l}

    From slot i the chain stays, goes to another slot (``leave`` over all of them), or to a law
    that begins (``new``, which counts with g = 1).

    Parameters
    ----------
    probs : (K,) or (K + 1,)
        filtered; a last one more than ``likely`` is the candidate's
    likely : (K,)
        g, how likely each slot makes the row's features; ones without a gate
    candidate_leave
        probability of leaving the candidate for a slot

    Returns
    -------
    predicted
        as ``probs``
    stayed : (K,)
        the part of ``predicted`` that was in the slot before
    begun
        predicted probability of a law that begins
    """
    K = len(likely)
    if K == 1:
        leave = 0.0
    stay = 1.0 - leave - new
    share = leave / max(K - 1, 1)
    total = sum(likely)
    parts = [
        p / (stay * g + share * (total - g) + new) for p, g in zip(probs, likely, strict=False)
    ]
    whole = sum(parts)
    stayed = [stay * part * g for part, g in zip(parts, likely, strict=True)]
    predicted = [
        kept + share * (whole - part) * g
        for kept, part, g in zip(stayed, parts, likely, strict=True)
    ]
    begun = new * whole
    if len(probs) > K:
        last = probs[K]
        leave = max(leave, candidate_leave)
        predicted = [p + last * leave * g / total for p, g in zip(predicted, likely, strict=True)]
        predicted.append(last * (1.0 - leave - new))
        begun += last * new
    return predicted, stayed, begun


def gate(log_density: Sequence[float], rows: Sequence[float]) -> list[float]:
    """How much likelier each slot makes the row's features than all slots together do.

    A slot with few ``rows`` is thought to see what all have seen.
    """
    top = max(log_density)
    own = [math.exp(value - top) for value in log_density]
    common = sum(n * g for n, g in zip(rows, own, strict=True)) / sum(rows)
    if common == 0.0:  # only slots without rows know such features
        return [1.0] * len(own)
    return [
        (n * g / common + _GATE_ROWS) / (n + _GATE_ROWS) for n, g in zip(rows, own, strict=True)
    ]


def outlier_rates(prior: float, outliers: Sequence[float], rows: Sequence[float]) -> list[float]:
    """Posterior mean of each slot's rate of outliers under the prior Beta(1, 1 / prior - 1)."""
    if prior == 0.0:
        return [0.0] * len(rows)
    return [(1.0 + o) / (1.0 / prior + o + n) for o, n in zip(outliers, rows, strict=True)]


def wide_log_density(errors: Sequence[float], variances: Sequence[float]) -> float:
    """Log density of a Student-t with :data:`WIDE_DOF` and these squared scales, over outputs."""
    out = 0.0
    for error, variance in zip(errors, variances, strict=True):
        width = WIDE_DOF * variance
        out += _CONSTANT - 0.5 * math.log(width) - _HALF * math.log1p(error * error / width)
    return out
