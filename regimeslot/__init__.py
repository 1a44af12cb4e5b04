"""Regime-switching forecasting: slots, Markov switching, and honest evidence on real series.

Public names are resolved on first use, so that ``import regimeslot`` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CATALOGUE": "models.catalogue",
    "Dataset": "features",
    "GarchForecaster": "models.garch",
    "LinearForecaster": "models.baselines",
    "MarkovForecaster": "models.markov_forecaster",
    "MarkovSwitching": "markov",
    "MeanForecaster": "models.baselines",
    "MixtureForecast": "forecast",
    "OnlineSlotRegressor": "models.online_slots",
    "Pool": "models.pool",
    "Prices": "prices",
    "Run": "evaluation.run",
    "SeriesStudy": "evaluation.study",
    "SequentialSlots": "models.sequential_slots",
    "SlotForecaster": "models.slot_forecaster",
    "SlotLSTM": "models.slot_lstm",
    "SlotLSTMCell": "models.slot_lstm",
    "SlotLSTMForecaster": "models.slot_lstm_forecaster",
    "SlotRegressor": "models.slot_regressor",
    "SlotScan": "models.slot_scan",
    "SlotWeight": "models.slot_weight",
    "SlotWeightForecaster": "models.slot_weight_forecaster",
    "StaticMixtureForecaster": "models.markov_forecaster",
    "Study": "evaluation.walk_forward",
    "StudySettings": "evaluation.study",
    "assert_causal": "causality",
    "fit_run": "evaluation.run",
    "load": "persistence",
    "load_prices": "prices",
    "make_dataset": "features",
    "make_forecaster": "models.catalogue",
    "other_series": "features",
    "read_record": "evaluation.record",
    "report": "reporting",
    "run_study": "evaluation.study",
    "save": "persistence",
    "study_report": "reporting",
    "walk_forward": "evaluation.walk_forward",
}
_MODULES = ("errors", "synthetic")

__all__ = sorted([*_HOMES, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    # Importing the subpackage `report` binds the module to this name: the function must win.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
