"""A result as a JSON-able header and plain arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.markov.layout import Layout
from regimeslot.markov.natural import Scaling
from regimeslot.markov.prepare import Design

if TYPE_CHECKING:
    from regimeslot.markov.result import MarkovSwitchingResult

__all__ = ["from_state", "to_state"]

Array = NDArray[Any]

_KIND = "markov-switching-result"
_VERSION = 2


def to_state(result: MarkovSwitchingResult) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and arrays; rows added by ``update`` are stored with the others."""
    layout, design, scaling = result.layout, result._full_design, result.scaling
    config = dict(result.config)
    given = None
    if not isinstance(config["initial"], str):
        given = np.asarray(config["initial"], dtype=float)
        config["initial"] = given.tolist()
    index, kind = _index_to_array(result.index)
    header = {
        "kind": _KIND,
        "version": _VERSION,
        "config": config,
        "layout": {
            "n_regimes": layout.n_regimes,
            "columns": list(layout.columns),
            "switching": [bool(s) for s in layout.switching],
            "n_ar": layout.n_ar,
            "switching_ar": layout.switching_ar,
            "switching_variance": layout.switching_variance,
            "student": layout.student,
            "switching_dof": layout.switching_dof,
            "n_tvtp": layout.n_tvtp,
            "estimated_initial": layout.estimated_initial,
        },
        "order": design.order,
        "first_row": design.first_row,
        "centre": scaling.centre,
        "scale": scaling.scale,
        "index": kind,
        "converged": result.converged,
        "flat": result.flat,
    }
    arrays = {
        "y": design.y,
        "exog": design.exog,
        "tvtp": design.tvtp,
        "theta": result.theta,
        "index": index,
        "column_centre": scaling.column_centre,
        "column_scale": scaling.column_scale,
        "transition_centre": scaling.transition_centre,
        "transition_scale": scaling.transition_scale,
        "start_values": result.start_values,
        "start_retired": result.start_retired.astype(np.uint8),
    }
    if result.known_information is not None:
        arrays["information"] = result.known_information
    return header, {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def from_state(
    cls: type[MarkovSwitchingResult], header: dict[str, Any], arrays: dict[str, Array]
) -> MarkovSwitchingResult:
    """Rebuild a result; it has forgotten which rows came by ``update``."""
    if header.get("kind") != _KIND or header.get("version") != _VERSION:
        raise InvalidInputError(
            f"expected a {_KIND} of version {_VERSION}, got {header.get('kind')!r} of version "
            f"{header.get('version')!r}"
        )
    parts = dict(header["layout"])
    parts["columns"] = tuple(parts["columns"])
    parts["switching"] = tuple(parts["switching"])
    layout = Layout(**parts)
    design = Design(
        layout, arrays["y"], arrays["exog"], arrays["tvtp"], header["order"], header["first_row"]
    )
    scaling = Scaling(
        header["centre"],
        header["scale"],
        arrays["column_centre"],
        arrays["column_scale"],
        arrays["transition_centre"],
        arrays["transition_scale"],
    )
    if arrays["theta"].shape != (layout.n_params,):
        raise InvalidInputError(
            f"theta must have {layout.n_params} entries, got {arrays['theta'].shape}"
        )
    return cls(
        config=dict(header["config"]),
        design=design,
        scaling=scaling,
        theta=arrays["theta"],
        own_index=_array_to_index(arrays["index"], header["index"]),
        converged=bool(header["converged"]),
        flat=bool(header["flat"]),
        start_values=arrays["start_values"],
        start_retired=arrays["start_retired"].astype(bool),
        known_information=arrays.get("information"),
    )


def _index_to_array(index: pd.Index) -> tuple[Array, dict[str, Any]]:
    name = None if index.name is None else str(index.name)
    if isinstance(index, pd.RangeIndex):
        return np.array([index.start, index.stop, index.step]), {"kind": "range", "name": name}
    if isinstance(index, pd.PeriodIndex):
        kind = {"kind": "period", "name": name, "frequency": index.freqstr}
        return index.asi8.copy(), kind
    if isinstance(index, pd.DatetimeIndex):
        zone = None if index.tz is None else str(index.tz)
        kind = {"kind": "datetime", "name": name, "zone": zone, "unit": index.unit}
        return index.asi8.copy(), kind
    if pd.api.types.is_integer_dtype(index.dtype):
        return index.to_numpy(dtype=np.int64), {"kind": "integer", "name": name}
    labels = np.arange(len(index))
    return labels, {"kind": "label", "name": name, "labels": [str(label) for label in index]}


def _array_to_index(array: Array, kind: dict[str, Any]) -> pd.Index:
    name = kind["name"]
    if kind["kind"] == "range":
        begin, end, step = (int(value) for value in array)
        return pd.RangeIndex(begin, end, step, name=name)
    if kind["kind"] == "period":
        periods = [pd.Period(ordinal=int(n), freq=kind["frequency"]) for n in array]
        return pd.PeriodIndex(periods, name=name)
    if kind["kind"] == "datetime":
        index = pd.DatetimeIndex(array.view(f"datetime64[{kind['unit']}]"), name=name)
        return index if kind["zone"] is None else index.tz_localize("UTC").tz_convert(kind["zone"])
    if kind["kind"] == "integer":
        return pd.Index(array, name=name)
    return pd.Index(kind["labels"], name=name)
