"""How many slots, and which penalties: by what the last training rows would have scored.

Training rows alone decide. Fits on the first two and three quarters of them each forecast the next
quarter, one step ahead. The smallest number of slots whose held-out log score is within one
standard error of the best is taken (the one-standard-error rule of Breiman, Friedman, Olshen
and Stone, 1984): slots beyond the laws in the data are twins, which cost accuracy and mislead.
Then the penalties: as they are, which laws that drift need, or by the evidence, which is sharper
where the laws stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.models.slot_forecaster import SlotForecaster

__all__ = ["choose_slots"]

Array = NDArray[np.float64]

_PENALTY = 0.1  # factor under which every number of slots is tried
_MIN_ROWS = 30  # of the part that a number is tried on


def choose_slots(
    model: SlotForecaster, frame: pd.DataFrame, target: Array
) -> tuple[int, float | str]:
    """Number of slots (two at least, where the model may have them) and the ``penalty`` setting.

    Parameters
    ----------
    model : SlotForecaster
        Its settings; the model itself is not touched.
    frame, target : the training rows

    Returns
    -------
    tuple of (int, float or str)
        The largest number and 1.0 where the rows are too few to tell.
    """
    n_slots = _fewest(model, frame, target) if model.n_slots > 2 else model.n_slots
    fixed, learned = (
        _held_out(model.clone(n_slots=n_slots, penalty=penalty), frame, target).sum()
        for penalty in (1.0, "evidence")
    )
    return n_slots, "evidence" if learned > fixed else 1.0


def _fewest(model: SlotForecaster, frame: pd.DataFrame, target: Array) -> int:
    sizes = range(2, model.n_slots + 1)
    scores = {
        n_slots: _held_out(model.clone(n_slots=n_slots, penalty=_PENALTY), frame, target)
        for n_slots in sizes
    }
    best = max(sizes, key=lambda n: scores[n].sum())
    for n_slots in sizes:
        lost = scores[best] - scores[n_slots]
        if len(lost) and lost.sum() <= np.sqrt(len(lost)) * lost.std():
            return n_slots
    return model.n_slots


def _held_out(trial: SlotForecaster, frame: pd.DataFrame, target: Array) -> Array:
    """Log score of each held-out row; each fit is made from nothing."""
    scores = [np.zeros(0)]
    trial.set_params(warm_start=False)
    for part in (2, 3):  # fit on two quarters, then on three; each forecasts the next one
        cut, end = len(frame) * part // 4, len(frame) * (part + 1) // 4
        train = slice(0, cut - (trial.horizon - 1))  # whole targets only
        if train.stop < _MIN_ROWS or np.ptp(target[train]) == 0.0:
            continue
        rest = slice(train.stop, end)
        trial.fit(frame.iloc[train], target[train])
        forecast = trial.predict(frame.iloc[rest], target[rest])
        scores.append(forecast.logpdf(target[rest])[trial.horizon - 1 :])
    return np.concatenate(scores)
