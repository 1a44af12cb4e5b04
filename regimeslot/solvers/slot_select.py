"""The number of slots, by the likelihood of held-out rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regimeslot.solvers.slot_design import Array, Design
from regimeslot.solvers.slot_em import SlotState

__all__ = ["choose_n_slots"]

_ROUNDING = 1e-9  # nats a row: slots pooled into one differ by less, in either direction


def choose_n_slots(
    design: Design,
    fit: Callable[[Design, int], SlotState],
    log_density: Callable[[Design, SlotState], Array],
    *,
    most: int,
    folds: int = 3,
    significance: float = 2.0,
    rng: np.random.Generator,
) -> tuple[int, NDArray[np.float64]]:
    """Add slots as long as they make held-out rows significantly more likely.

    A larger number replaces a smaller one when its mean gain per row exceeds ``significance``
    standard errors of the paired differences; two failures in a row end the search.

    Parameters
    ----------
    design
        all training rows
    fit
        (rows, number of slots) -> state
    log_density
        (rows, state) -> log density of each row
    most
        largest number tried
    folds
        parts of the rows, each held out once
    significance
        standard errors
    rng
        deals the rows into folds

    Returns
    -------
    number, scores
        the choice, and the mean held-out log density for 1, 2, ... slots, as far as tried
    """
    n = len(design.Z)
    fold = rng.permutation(n) % folds
    share = design.weights / design.total
    scores: list[float] = []
    chosen, reference = 1, np.empty(0)
    for number in range(1, most + 1):
        rows = np.empty(n)
        for part in range(folds):
            held_out = np.flatnonzero(fold == part)
            state = fit(design.rows(np.flatnonzero(fold != part)), number)
            rows[held_out] = log_density(design.rows(held_out), state)
        scores.append(float(share @ rows))
        if number == 1:
            reference = rows
            continue
        gain = rows - reference
        mean = float(share @ gain)
        error = float(np.sqrt(share**2 @ (gain - mean) ** 2))
        if mean > significance * error + _ROUNDING:
            chosen, reference = number, rows
        elif number >= chosen + 2:
            break
    return chosen, np.array(scores)
