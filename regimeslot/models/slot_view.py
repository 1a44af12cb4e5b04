"""What a fitted slot model says in words and tables: its transition matrix, slots and names."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.models.base import Features, check_rows
from regimeslot.models.selectors import SELECTORS
from regimeslot.models.slot_forecaster import FEATURE_LIMIT, SlotForecaster

__all__ = ["coefficients", "regime_names", "slot_transition"]

Array = NDArray[np.float64]

_NAMES = {
    1: ("all days",),
    2: ("calm", "wild"),
    3: ("calm", "middle", "wild"),
    4: ("calm", "mild", "rough", "wild"),
}


def regime_names(n_regimes: int) -> tuple[str, ...]:
    """Words for regimes that are ordered from calm to wild.

    Examples
    --------
    >>> regime_names(3)
    ('calm', 'middle', 'wild')
    """
    return _NAMES.get(n_regimes, tuple(f"regime {k + 1}" for k in range(n_regimes)))


def coefficients(model: SlotForecaster, role: str = "scale") -> pd.DataFrame:
    """Effect of one standard deviation of each feature, by slot.

    Parameters
    ----------
    model : SlotForecaster
        Fitted.
    role : {"scale", "location", "gate"}
        On a slot's log scale, on its location (in the data's units), or on the logit of a slot
        against slot 0.

    Returns
    -------
    DataFrame (slots, features)
    """
    blocks = {"scale": "scale_slope", "location": "location_slope", "gate": "slope"}
    if role not in blocks:
        raise InvalidInputError(f"role must be one of {', '.join(blocks)}, got {role!r}")
    model._require_fit()
    names = model.features_[role]
    values = model.parameters_.get(blocks[role], np.zeros((0, 0)))
    if not names or not len(values):
        return pd.DataFrame(index=range(model.n_slots_))
    if role == "gate":
        values = np.vstack([np.zeros(len(names)), values])
    if role == "location":
        values = values * model.spread_
    return pd.DataFrame(values, columns=names)


def slot_transition(model: SlotForecaster, X: Features) -> Array:
    """Transition probabilities (K, K) at one row of features; equal rows without memory."""
    frame = check_rows(X, model.columns_)
    if len(frame) != 1:
        raise InvalidInputError(f"a transition matrix needs one row of X, got {len(frame)}")
    if model.n_slots_ == 1:
        return np.ones((1, 1))
    where = [model.columns_.index(name) for name in model.features_["gate"]]
    features = (frame.to_numpy(float)[0, where] - model.feature_mean_[where]) / (
        model.feature_std_[where]
    )
    features = np.clip(features, -FEATURE_LIMIT, FEATURE_LIMIT)[:, None]
    transition = SELECTORS[model.selector].transition(
        model.parameters_["bias"], model.parameters_["slope"], features
    )
    matrix = transition.reshape(len(transition), model.n_slots_)
    return np.asarray(np.broadcast_to(matrix, (model.n_slots_, model.n_slots_)).copy())
