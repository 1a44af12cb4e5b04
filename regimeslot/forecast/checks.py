"""What a mixture forecast accepts: shapes, values, labels, levels and points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PARAMETERS",
    "as_labels",
    "as_levels",
    "as_points",
    "component_arrays",
    "row_index",
]

Array = NDArray[np.float64]

PARAMETERS = ("weights", "locations", "scales", "dof", "skew")


def row_index(index: object) -> pd.Index | None:
    """A pandas Index, or None."""
    if index is None:
        return None
    import pandas as pd

    return index if isinstance(index, pd.Index) else pd.Index(index)  # type: ignore[call-overload]


def component_arrays(given: Iterable[ArrayLike], n_rows: int | None) -> list[Array]:
    """Copies broadcast to (n, K), checked, read-only."""
    arrays = []
    for name, values in zip(PARAMETERS, given, strict=True):
        try:
            arrays.append(np.asarray(values, np.float64))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{name} must be numbers, got {type(values)}") from error
    shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(PARAMETERS, arrays, strict=True))
    try:
        shape = np.broadcast_shapes((1, 1), *(array.shape for array in arrays))
    except ValueError as error:
        raise InvalidInputError(f"arrays must broadcast to (rows, components), got {shapes}") from (
            error
        )
    if n_rows is not None and shape[0] == 1:
        shape = (n_rows, *shape[1:])
    if len(shape) != 2 or shape[1] == 0 or (n_rows is not None and shape[0] != n_rows):
        wanted = "rows" if n_rows is None else f"{n_rows} rows of the index"
        raise InvalidInputError(f"arrays must broadcast to ({wanted}, components), got {shapes}")
    result = [np.array(np.broadcast_to(array, shape), order="C") for array in arrays]
    _check_values(*result)
    for array in result:
        array.setflags(write=False)
    return result


def _check_values(weights: Array, locations: Array, scales: Array, dof: Array, skew: Array) -> None:
    for name, array, good, rule in (
        ("weights", weights, (weights >= 0) & np.isfinite(weights), "be finite and at least 0"),
        ("locations", locations, np.isfinite(locations), "be finite"),
        ("scales", scales, (scales > 0) & np.isfinite(scales), "be finite and above 0"),
        ("dof", dof, dof > 0, "be above 0 (inf for a Gaussian)"),
        ("skew", skew, np.abs(skew) < 1, "lie between -1 and 1"),
    ):
        if not good.all():
            row, component = np.argwhere(~good)[0]
            raise InvalidInputError(
                f"{name} must {rule}, got {float(array[row, component])!r} "
                f"in row {row}, component {component}"
            )
    total = weights.sum(axis=1)
    wrong = np.abs(total - 1.0) > 1e-8
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(
            f"weights must sum to 1 in each row, got {float(total[row])!r} in row {row}"
        )


def as_labels(labels: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """One non-empty name per component, or None."""
    if labels is None:
        return None
    names = (labels,) if isinstance(labels, str) else tuple(labels)
    if len(names) != count or not all(isinstance(name, str) and name for name in names):
        raise InvalidInputError(f"labels must be {count} non-empty strings, got {names!r}")
    return names


def as_levels(p: ArrayLike, name: str, *, closed: bool = False, scalar: bool = False) -> Array:
    """Probabilities, a scalar or one dimension."""
    levels = np.asarray(p, np.float64)
    good = (levels >= 0) & (levels <= 1) if closed else (levels > 0) & (levels < 1)
    if levels.ndim > (0 if scalar else 1) or not good.all():
        shape = "a number" if scalar else "a number or one dimension of numbers"
        ends = "from 0 to 1" if closed else "between 0 and 1"
        raise InvalidInputError(f"{name} must be {shape} {ends}, got {p!r}")
    return levels


def as_points(y: ArrayLike, n_rows: int, index: pd.Index | None) -> tuple[Array, tuple[int, ...]]:
    """Points as (n, m), and the shape of the answer; dated points need the forecast's dates."""
    dates = getattr(y, "index", None)
    if index is not None and dates is not None and not callable(dates) and not index.equals(dates):
        raise InvalidInputError(
            f"y must have the index of the forecast ({n_rows} rows from {_first(index)}), "
            f"got {len(dates)} rows from {_first(dates)}; align it or pass an array"
        )
    try:
        points = np.asarray(y, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"y must be numbers, got {type(y)}") from error
    if points.ndim == 0:
        return np.full((n_rows, 1), float(points)), (n_rows,)
    if points.ndim > 2 or points.shape[0] != n_rows:
        raise InvalidInputError(
            f"y must be a number, ({n_rows},) or ({n_rows}, m), got shape {points.shape}"
        )
    return points.reshape(n_rows, -1 if n_rows else 0), points.shape


def _first(index: pd.Index) -> object:
    return index[0] if len(index) else "none"
