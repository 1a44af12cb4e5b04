"""Models: slots, baselines, pools, and the CATALOGUE of all of them. Names resolve on first use."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CATALOGUE": "catalogue",
    "Forecaster": "base",
    "GarchForecaster": "garch",
    "LinearForecaster": "baselines",
    "MarkovForecaster": "markov_forecaster",
    "MeanForecaster": "baselines",
    "OnlineSlotRegressor": "online_slots",
    "Pool": "pool",
    "Setting": "catalogue",
    "SequentialSlots": "sequential_slots",
    "SlotForecaster": "slot_forecaster",
    "SlotLSTM": "slot_lstm",
    "SlotLSTMCell": "slot_lstm",
    "SlotLSTMForecaster": "slot_lstm_forecaster",
    "SlotRegressor": "slot_regressor",
    "SlotScan": "slot_scan",
    "SlotWeight": "slot_weight",
    "SlotWeightForecaster": "slot_weight_forecaster",
    "StaticMixtureForecaster": "markov_forecaster",
    "make_forecaster": "catalogue",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
