"""How many slots, and how strongly held: chosen by what the last training rows would have scored.

Training rows alone decide. Fits on the first two and three quarters of them each forecast the next
quarter, one step ahead. Of the numbers of slots, the smallest whose held-out log score is within
one standard error of the best is taken (the one-standard-error rule of Breiman, Friedman, Olshen
and Stone, 1984): slots beyond the laws in the data are twins, which cost accuracy and mislead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.models.slot_forecaster import SlotForecaster

__all__ = ["PENALTIES", "choose_slots"]

Array = NDArray[np.float64]

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)  # factors that are tried, strongest first
_MIN_ROWS = 30  # of the part that a setting is tried on


def choose_slots(model: SlotForecaster, frame: pd.DataFrame, target: Array) -> tuple[int, float]:
    """Number of slots (two at least, where the model may have them) and factor on the penalties.

    Parameters
    ----------
    model : SlotForecaster
        Its settings; the model itself is not touched.
    frame, target : the training rows

    Returns
    -------
    tuple of (int, float)
        The first fewest slots and strongest penalty where the rows are too few to tell.
    """
    sizes = range(min(2, model.n_slots), model.n_slots + 1)
    scores: dict[int, Array] = {}
    penalties: dict[int, float] = {}
    for n_slots in sizes:
        by_penalty = _held_out(model.clone(n_slots=n_slots), frame, target)
        if not by_penalty.size:
            return model.n_slots, PENALTIES[0]
        best = int(np.argmax(by_penalty.sum(axis=1)))
        scores[n_slots], penalties[n_slots] = by_penalty[best], PENALTIES[best]
    winner = max(sizes, key=lambda n: scores[n].sum())
    for n_slots in sizes:
        lost = scores[winner] - scores[n_slots]
        if lost.sum() <= np.sqrt(len(lost)) * lost.std():
            return n_slots, penalties[n_slots]
    return winner, penalties[winner]


def _held_out(model: SlotForecaster, frame: pd.DataFrame, target: Array) -> Array:
    """Log score of each held-out row under each penalty, (penalties, rows)."""
    parts = []
    for part in (2, 3):  # fit on two quarters, then on three; each forecasts the next one
        cut, end = len(frame) * part // 4, len(frame) * (part + 1) // 4
        train = slice(0, cut - (model.horizon - 1))  # whole targets only
        if train.stop < _MIN_ROWS or np.ptp(target[train]) == 0.0:
            continue
        rest = slice(train.stop, end)
        trial = model.clone(penalty=PENALTIES[0], n_starts=1, warm_start=True)
        scores = []
        for penalty in PENALTIES:
            trial.set_params(penalty=penalty)  # from the solution under the stronger one before
            trial.fit(frame.iloc[train], target[train])
            forecast = trial.predict(frame.iloc[rest], target[rest])
            scores.append(forecast.logpdf(target[rest])[model.horizon - 1 :])
        parts.append(np.stack(scores))
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(PENALTIES), 0))
