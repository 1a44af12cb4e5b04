"""Mixture forecasts as flat tables, for CSV and parquet files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError

if TYPE_CHECKING:
    from regimeslot.forecast.mixture import MixtureForecast

__all__ = ["from_frame", "to_frame"]

Array = NDArray[np.float64]

_COLUMNS = ("weight", "location", "scale", "dof", "skew")
_NAME = re.compile(r"(weight|location|scale|dof|skew)_(\d+)(?:_(.+))?", re.DOTALL)


def to_frame(forecast: MixtureForecast) -> pd.DataFrame:
    """Columns ``weight_0``, ``location_0``, ``scale_0``, ``dof_0``, ``skew_0``, ``weight_1``..."""
    columns = {}
    for k in range(forecast.n_components):
        suffix = f"_{k}" if forecast.labels is None else f"_{k}_{forecast.labels[k]}"
        for name, array in zip(_COLUMNS, forecast.parameters, strict=True):
            columns[name + suffix] = array[:, k]
    return pd.DataFrame(columns, index=forecast.index)


def from_frame(
    frame: pd.DataFrame,
) -> tuple[list[Array], pd.Index | None, tuple[str, ...] | None]:
    """Arrays, index and labels of a table that :func:`to_frame` wrote."""
    found: dict[str, dict[int, Array]] = {name: {} for name in _COLUMNS}
    names: dict[int, set[str | None]] = {}
    for column in frame.columns:
        match = _NAME.fullmatch(str(column))
        if match is None:
            raise InvalidInputError(
                f"columns must be named like weight_0 or weight_0_calm, got {column!r}"
            )
        kind, number, label = match[1], int(match[2]), match[3]
        if number in found[kind]:
            raise InvalidInputError(f"two columns hold {kind}_{number}; drop one")
        found[kind][number] = frame[column].to_numpy(np.float64)
        names.setdefault(number, set()).add(label)
    wanted = set(range(len(names)))
    for kind, columns in found.items():
        if not wanted or set(columns) != wanted:
            missing = sorted(wanted - set(columns)) or [0]
            raise InvalidInputError(
                f"each component needs {', '.join(_COLUMNS)}; {kind}_{missing[0]} is missing"
            )
    labels = [next(iter(names[k])) for k in sorted(wanted)]
    clash = next((k for k in sorted(wanted) if len(names[k]) > 1), None)
    if clash is not None or len({label is None for label in labels}) > 1:
        raise InvalidInputError("all columns of a component need the same label, or none any")
    arrays = [np.column_stack([columns[k] for k in sorted(wanted)]) for columns in found.values()]
    plain = isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.RangeIndex(len(frame)))
    index = None if plain and frame.index.name is None else frame.index
    return arrays, index, None if labels[0] is None else tuple(str(label) for label in labels)
