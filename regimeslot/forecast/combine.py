"""Several mixture forecasts laid behind or beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.forecast.mixture import MixtureForecast

__all__ = ["concatenated", "described", "pooled"]

Array = NDArray[np.float64]
Combined = tuple[list[Array], "pd.Index | None", tuple[str, ...] | None]


def described(forecast: MixtureForecast) -> str:
    """The components in words."""
    count = f"{forecast.n_components} component" + ("" if forecast.n_components == 1 else "s")
    return count if forecast.labels is None else f"{count}: {', '.join(forecast.labels)}"


def concatenated(members: Sequence[MixtureForecast]) -> Combined:
    """Arrays, index and labels of the rows of all members, one behind the other."""
    first, *others = members
    for number, other in enumerate(others, start=1):
        if other.n_components != first.n_components or other.labels != first.labels:
            raise InvalidInputError(
                f"all forecasts need the components of the first ({described(first)}), "
                f"number {number} has {described(other)}"
            )
        if (other.index is None) != (first.index is None):
            raise InvalidInputError(
                "either all forecasts or none need an index, "
                f"number {number} differs from the first"
            )
    index = first.index
    if index is not None and others:
        index = index.append([other.index for other in others if other.index is not None])
    stacked = zip(*(member.parameters for member in members), strict=True)
    return [np.concatenate(arrays) for arrays in stacked], index, first.labels


def pooled(members: Sequence[MixtureForecast], weights: ArrayLike | None) -> Combined:
    """Arrays, index and labels of the weighted average of the members' densities."""
    first, *others = members
    for number, other in enumerate(others, start=1):
        same = len(other) == len(first) and (
            other.index is first.index
            or (other.index is not None and other.index.equals(first.index))
        )
        if not same:
            raise InvalidInputError(
                "pooled forecasts need the same rows and the same index, "
                f"number {number} differs from the first; select the common rows before"
            )
    share = _shares(weights, len(first), len(members))
    mixed = [share[:, [j]] * member.weights for j, member in enumerate(members)]
    rest = zip(*(member.parameters[1:] for member in members), strict=True)
    labels = None
    if all(member.labels is not None for member in members):
        labels = tuple(label for member in members for label in member.labels or ())
    return [np.hstack(mixed), *map(np.hstack, rest)], first.index, labels


def _shares(weights: ArrayLike | None, n_rows: int, count: int) -> Array:
    """Pool weights as (n, J)."""
    given = np.full(count, 1.0 / count) if weights is None else np.asarray(weights, np.float64)
    if given.shape not in {(count,), (n_rows, count)}:
        raise InvalidInputError(
            f"pool weights must have shape ({count},) or ({n_rows}, {count}), got {given.shape}"
        )
    if not (np.all(given >= 0) and np.allclose(given.sum(axis=-1), 1.0, rtol=0, atol=1e-8)):
        raise InvalidInputError("pool weights must be non-negative and sum to 1 in each row")
    return np.broadcast_to(given, (n_rows, count))
