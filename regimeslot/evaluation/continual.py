"""Learning without forgetting: a model run along a stream, and what it keeps of earlier laws.

The matrix R of scores has one row for every task learned and one column for every task: R[i, j] is
the score on task j after learning tasks 0 to i in turn. Larger is better. A model here is anything
with ``learn_one(x, y)`` and ``predict_one(x)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError

__all__ = [
    "StreamModel",
    "average_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
    "prequential",
    "re_entry_error",
    "score_matrix",
]

Array = NDArray[np.float64]
Task = tuple[ArrayLike, ArrayLike]


class StreamModel(Protocol):
    """What learns from a stream, one row at a time."""

    def learn_one(self, x: Array, y: float) -> object:
        """Learn one row."""

    def predict_one(self, x: Array) -> Any:
        """Mean of the target of one row, before it is known."""


def prequential(model: StreamModel, X: ArrayLike, y: ArrayLike) -> Array:
    """Forecast each row, then learn it: (n,) means, each made before its target was seen.

    The model learns; pass a copy to keep it as it is.

    Examples
    --------
    >>> from regimeslot.evaluation.continual import prequential
    >>> from regimeslot.evaluation.continual_baselines import LastValue
    >>> prequential(LastValue(), [[0.0], [0.0], [0.0]], [1.0, 2.0, 3.0]).tolist()
    [0.0, 1.0, 2.0]
    """
    rows, targets = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or targets.shape != (len(rows),):
        raise InvalidInputError(
            f"expected X of shape (rows, features) and one y per row, got {rows.shape} and "
            f"{targets.shape}"
        )
    means = np.empty(len(rows))
    for t, (x, value) in enumerate(zip(rows, targets.tolist(), strict=True)):
        means[t] = model.predict_one(x)
        model.learn_one(x, value)
    return means


def score_matrix(
    model: StreamModel, train: Sequence[Task], test: Sequence[Task], *, skip: int = 0
) -> tuple[Array, Array]:
    r"""R of a model that learns tasks in turn, and the scores b of the model before any.

    The score of a task is :math:`1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2` over its test rows,
    run one step ahead on a copy of the model: what a copy learns there the model never sees.

    Parameters
    ----------
    model
        not yet trained; it is trained here
    train, test
        (X, y) of every task, the same number of tasks
    skip
        test rows at the start that are learned but not scored, for models that must see first
        which law is in force

    Returns
    -------
    R : (T, T)
    b : (T,)

    Examples
    --------
    >>> from regimeslot.evaluation.continual import score_matrix
    >>> from regimeslot.evaluation.continual_baselines import RecursiveLeastSquares
    >>> X = [[-1.0], [0.5], [2.0]]
    >>> up, down = (X, [-1.0, 0.5, 2.0]), (X, [1.0, -0.5, -2.0])
    >>> R, b = score_matrix(RecursiveLeastSquares(), [up, down], [up, down])
    >>> bool(R[0, 0] > b[0] and R[1, 0] < R[0, 0])
    True
    """
    if len(train) != len(test) or not train:
        raise InvalidInputError(
            f"expected training and test rows of every task, got {len(train)} and {len(test)}"
        )
    before = np.array([_score(model, task, skip) for task in test])
    scores = np.empty((len(train), len(test)))
    for i, (X, y) in enumerate(train):
        prequential(model, X, y)
        scores[i] = [_score(model, task, skip) for task in test]
    return scores, before


def _score(model: StreamModel, task: Task, skip: int) -> float:
    X, y = task
    target = np.asarray(y, dtype=np.float64)
    if not 0 <= skip < len(target) - 1:
        raise InvalidInputError(
            f"expected skip to leave two of {len(target)} test rows or more, got {skip}"
        )
    error = (target - prequential(deepcopy(model), X, target))[skip:]
    spread = np.sum((target[skip:] - target[skip:].mean()) ** 2)
    if spread == 0.0:
        raise InvalidInputError("expected test targets that vary, got equal ones")
    return float(1.0 - np.sum(error**2) / spread)


def average_accuracy(R: ArrayLike) -> float:
    r"""Mean score over all tasks after the last: :math:`\frac1T \sum_j R_{Tj}`.

    References
    ----------
    Lopez-Paz and Ranzato (2017), Gradient episodic memory for continual learning.

    Examples
    --------
    >>> from regimeslot.evaluation.continual import average_accuracy
    >>> average_accuracy([[1.0, 0.0], [0.5, 1.0]])
    0.75
    """
    return float(_checked(R, least=1)[-1].mean())


def backward_transfer(R: ArrayLike) -> float:
    r"""What later tasks did to earlier ones: :math:`\frac1{T-1} \sum_{j<T} (R_{Tj} - R_{jj})`.

    Negative is forgetting (Lopez-Paz and Ranzato 2017).

    Examples
    --------
    >>> from regimeslot.evaluation.continual import backward_transfer
    >>> backward_transfer([[1.0, 0.0], [0.5, 1.0]])
    -0.5
    """
    scores = _checked(R, least=2)
    return float((scores[-1] - np.diag(scores))[:-1].mean())


def forward_transfer(R: ArrayLike, baseline: ArrayLike) -> float:
    r"""What earlier tasks did for later ones: :math:`\frac1{T-1} \sum_{j>1} (R_{j-1,j} - b_j)`.

    ``baseline`` b holds the scores of the model before any task (Lopez-Paz and Ranzato 2017).

    Examples
    --------
    >>> from regimeslot.evaluation.continual import forward_transfer
    >>> forward_transfer([[1.0, 0.25], [0.5, 1.0]], [0.0, 0.0])
    0.25
    """
    scores = _checked(R, least=2)
    start = np.asarray(baseline, dtype=np.float64)
    if start.shape != (len(scores),):
        raise InvalidInputError(
            f"expected a baseline score for each of {len(scores)} tasks, got shape {start.shape}"
        )
    return float((np.diag(scores, 1) - start[1:]).mean())


def forgetting(R: ArrayLike) -> float:
    r"""Loss from the best a task ever was: mean over j < T of :math:`\max_{i<T} R_{ij} - R_{Tj}`.

    References
    ----------
    Chaudhry, Dokania, Ajanthan and Torr (2018), Riemannian walk for incremental learning.

    Examples
    --------
    >>> from regimeslot.evaluation.continual import forgetting
    >>> forgetting([[1.0, 0.0], [0.5, 1.0]])
    0.5
    """
    scores = _checked(R, least=2)
    best = np.array([scores[j:-1, j].max() for j in range(len(scores) - 1)])
    return float((best - scores[-1, :-1]).mean())


def re_entry_error(loss: ArrayLike, regimes: ArrayLike, *, window: int = 20) -> float:
    """Mean loss in the first rows after a regime returns; a regime's first spell does not count.

    Parameters
    ----------
    loss, regimes : (n,)
        loss of each row and the regime in force
    window
        rows of each spell; a shorter spell counts whole

    Returns
    -------
    float
        NaN where no regime ever returns

    Examples
    --------
    >>> from regimeslot.evaluation.continual import re_entry_error
    >>> re_entry_error([1, 1, 1, 1, 5, 3, 1], list("AABBAAA"), window=2)
    4.0
    """
    losses, labels = np.asarray(loss, dtype=np.float64), np.asarray(regimes)
    if losses.ndim != 1 or losses.shape != labels.shape:
        raise InvalidInputError(
            f"expected one loss and one regime per row, got {losses.shape} and {labels.shape}"
        )
    if window < 1:
        raise InvalidInputError(f"expected window to be at least 1, got {window!r}")
    changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    starts = np.concatenate([[0], changes, [len(labels)]])
    counted = np.zeros(len(labels), dtype=bool)
    for start, end in pairwise(starts[1:]):
        if labels[start] in labels[:start]:
            counted[start : min(start + window, end)] = True
    return float(losses[counted].mean()) if counted.any() else float("nan")


def _checked(R: ArrayLike, *, least: int) -> Array:
    scores = np.asarray(R, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < least:
        raise InvalidInputError(
            f"expected scores of at least {least} tasks, one row and one column each, "
            f"got shape {scores.shape}"
        )
    return scores
