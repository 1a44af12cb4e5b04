"""How much of a known truth a model has found.

Labels are matched to the true regimes by :func:`match_labels` on training rows; every other measure
takes labels that have been matched already, so that nothing is chosen on the rows it is judged on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast

__all__ = [
    "accuracy",
    "adjusted_rand_index",
    "calibration_error",
    "effective_number",
    "false_switches_per_thousand",
    "gap_closed",
    "gate_angle",
    "match_labels",
    "match_slots",
    "slots_found",
    "switch_delay",
    "weight_error",
]

Array = NDArray[np.float64]
Labels = NDArray[np.intp]


def gap_closed(model: float, linear: float, oracle: float) -> float:
    r"""Share of the way from a linear model to an oracle: :math:`(s_L - s_M) / (s_L - s_O)`.

    Works for losses and for scores alike; 1 is the oracle, 0 the linear model, below 0 worse.

    Raises
    ------
    InvalidInputError
        if oracle and linear model score the same: there is no gap to close

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import gap_closed
    >>> round(gap_closed(model=0.3, linear=1.0, oracle=0.2), 3)
    0.875
    """
    if oracle == linear:
        raise InvalidInputError(
            f"expected an oracle that differs from the linear model, got {oracle!r} for both; "
            "this law has no regimes to find"
        )
    return float((linear - model) / (linear - oracle))


def match_labels(true: ArrayLike, guessed: ArrayLike) -> Labels:
    """Map each guessed label to a true one so that most rows agree (Hungarian assignment).

    Parameters
    ----------
    true, guessed : (n,)
        labels 0, 1, ... on training rows

    Returns
    -------
    mapping
        ``mapping[guessed]`` are matched labels; slots left over go to the regime they mostly met

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import match_labels
    >>> match_labels([0, 0, 1, 1], [1, 1, 0, 0]).tolist()
    [1, 0]
    """
    truth, guess = _labels(true, guessed)
    table = np.zeros((guess.max() + 1, truth.max() + 1))
    np.add.at(table, (guess, truth), 1)
    mapping = table.argmax(1)
    rows, columns = linear_sum_assignment(-table)
    mapping[rows] = columns
    return mapping


def accuracy(true: ArrayLike, matched: ArrayLike) -> float:
    """Share of rows whose matched label is the true one.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import accuracy
    >>> accuracy([0, 1, 1, 0], [0, 1, 1, 1])
    0.75
    """
    truth, guess = _labels(true, matched)
    return float((truth == guess).mean())


def adjusted_rand_index(true: ArrayLike, guessed: ArrayLike) -> float:
    """Agreement of two partitions beyond chance (Hubert and Arabie 1985); needs no matching.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import adjusted_rand_index
    >>> adjusted_rand_index([0, 0, 1, 1], [5, 5, 2, 2])
    1.0
    """
    truth, guess = _labels(true, guessed)
    table = np.zeros((truth.max() + 1, guess.max() + 1))
    np.add.at(table, (truth, guess), 1)

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(pairs(np.array([float(len(truth))])), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def match_slots(true_coef: ArrayLike, coef: ArrayLike) -> tuple[Labels, Labels]:
    """Pair true laws with slots (law, slot) so that the summed largest errors are least.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import match_slots
    >>> laws, slots = match_slots([[1, 0], [0, 1]], [[0, 1], [1, 0]])
    >>> slots.tolist()
    [1, 0]
    """
    return _paired(*_coefficients(true_coef, coef))[:2]


def weight_error(true_coef: ArrayLike, coef: ArrayLike) -> float:
    """Largest absolute error of any coefficient of any law, after Hungarian matching.

    Parameters
    ----------
    true_coef : (K, d)
    coef : (S, d)
        at least as many slots as laws; slots without a law do not count

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import weight_error
    >>> round(weight_error([[1, 0], [0, 1]], [[0.1, 1], [1, 0]]), 3)
    0.1
    """
    laws, slots, errors = _paired(*_coefficients(true_coef, coef))
    return float(errors[laws, slots].max())


def gate_angle(
    true_gate: ArrayLike, gate: ArrayLike, *, laws: ArrayLike = (), slots: ArrayLike = ()
) -> float:
    """Largest angle, degrees, between a true and a fitted boundary of two regimes.

    The boundary between regimes a and b has the normal ``v_a - v_b``; its length is the gate's
    sharpness, which is not identified where regimes do not overlap, so only the direction counts.

    Parameters
    ----------
    true_gate, gate : (K, d)
        gate coefficients without intercepts
    laws, slots
        pairs from :func:`match_slots`; by default in the order given

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import gate_angle
    >>> round(gate_angle([[1, 0], [0, 0]], [[9, 9], [0, 0]]), 6)
    45.0
    """
    truth, fitted = np.asarray(true_gate, dtype=float), np.asarray(gate, dtype=float)
    if np.size(laws):
        truth, fitted = truth[np.asarray(laws)], fitted[np.asarray(slots)]
    if truth.shape != fitted.shape or len(truth) < 2:
        raise InvalidInputError(
            f"expected two gates of the same shape with two or more rows, got {truth.shape} and "
            f"{fitted.shape}; pass the pairs of match_slots"
        )
    first, second = np.triu_indices(len(truth), 1)
    angles = []
    for a, b in zip(truth[first] - truth[second], fitted[first] - fitted[second], strict=True):
        a_unit = a / max(np.linalg.norm(a), np.finfo(float).tiny)
        b_unit = b / max(np.linalg.norm(b), np.finfo(float).tiny)
        # The chord keeps small angles exact where the cosine rounds to one.
        chord = np.linalg.norm(a_unit - b_unit) / 2
        angles.append(np.degrees(2 * np.arcsin(min(float(chord), 1.0))))
    return float(max(angles))


def effective_number(usage: ArrayLike) -> float:
    """Exp of the entropy of the slots' shares: 1 when one slot does all, K when all share alike.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import effective_number
    >>> round(effective_number([0.5, 0.5, 0.0]), 6)
    2.0
    """
    share = np.asarray(usage, dtype=float)
    if share.ndim != 1 or not np.all(share >= 0) or not share.sum() > 0:
        raise InvalidInputError(f"expected non-negative shares, got {usage!r}")
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def slots_found(usage: ArrayLike, *, least: float = 0.02) -> int:
    """Number of slots that carry at least the share ``least`` of the rows.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import slots_found
    >>> slots_found([0.6, 0.399, 0.001])
    2
    """
    return int((np.asarray(usage, dtype=float) >= least).sum())


def switch_delay(true: ArrayLike, matched: ArrayLike) -> float:
    """Mean number of rows after a true switch until the matched label first agrees.

    A switch that is never noticed before the next one counts with the length of its spell. Without
    any switch the result is nan.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import switch_delay
    >>> switch_delay([0, 0, 1, 1, 1], [0, 0, 0, 1, 1])
    1.0
    """
    truth, guess = _labels(true, matched)
    starts = np.flatnonzero(np.diff(truth)) + 1
    if not len(starts):
        return float("nan")
    ends = np.append(starts[1:], len(truth))
    delays = []
    for start, end in zip(starts, ends, strict=True):
        agree = np.flatnonzero(guess[start:end] == truth[start])
        delays.append(int(agree[0]) if len(agree) else end - start)
    return float(np.mean(delays))


def false_switches_per_thousand(true: ArrayLike, matched: ArrayLike) -> float:
    """Label changes into a wrong regime, per thousand rows.

    Examples
    --------
    >>> from regimeslot.evaluation.recovery import false_switches_per_thousand
    >>> false_switches_per_thousand([0, 0, 0, 0], [0, 1, 0, 0])
    250.0
    """
    truth, guess = _labels(true, matched)
    changes = np.flatnonzero(np.diff(guess)) + 1
    return float(1000 * (guess[changes] != truth[changes]).sum() / len(truth))


def calibration_error(forecast: MixtureForecast, y: ArrayLike) -> float:
    r"""Largest distance between the distribution of :math:`F_t(y_t)` and the uniform one.

    The Kolmogorov-Smirnov distance of the probability integral transform; about
    :math:`0.9 / \sqrt n` for a perfect forecast.
    """
    pit = np.sort(np.asarray(forecast.cdf(y), dtype=float))
    n = len(pit)
    step = np.arange(1, n + 1) / n
    return float(np.maximum(np.abs(step - pit), np.abs(pit - step + 1 / n)).max())


def _labels(true: ArrayLike, guessed: ArrayLike) -> tuple[Labels, Labels]:
    truth, guess = np.asarray(true), np.asarray(guessed)
    if truth.ndim != 1 or truth.shape != guess.shape or not len(truth):
        raise InvalidInputError(
            f"expected two label vectors of the same length, got {truth.shape} and {guess.shape}"
        )
    for labels in (truth, guess):
        if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise InvalidInputError(f"expected labels 0, 1, ..., got {labels.dtype} {labels[:5]}")
    return truth.astype(np.intp), guess.astype(np.intp)


def _coefficients(true_coef: ArrayLike, coef: ArrayLike) -> tuple[Array, Array]:
    truth, fitted = np.asarray(true_coef, dtype=float), np.asarray(coef, dtype=float)
    shapes_fit = truth.ndim == fitted.ndim == 2 and truth.shape[1] == fitted.shape[1]
    if not shapes_fit or len(fitted) < len(truth):
        raise InvalidInputError(
            "expected coefficients (laws, features) and (slots, features) with at least as many "
            f"slots as laws, got {truth.shape} and {fitted.shape}"
        )
    return truth, fitted


def _paired(truth: Array, fitted: Array) -> tuple[Labels, Labels, Array]:
    errors = np.abs(truth[:, None] - fitted[None]).max(2)
    laws, slots = linear_sum_assignment(errors)
    return laws, slots, errors
