"""Features of a whole cross-section: what many other series did, as known at a series' close.

Single stocks share most of the changes of their volatility. The average over others measures that
common part with far less noise than one stock's own moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.features.columns import CLIP, Columns, Volatility

__all__ = ["FEWEST", "OtherSeries", "cross_section_columns", "newest_known"]

Array = NDArray[np.float64]

FEWEST = 2  # other series without which there is no spread between them
_RECENT = 5  # rows after which another series that stood still is left out
_SPREAD_FLOOR = 0.05  # in volatilities: keeps the logarithm finite where all moved alike
_AVERAGED = ("cross_vol_2", "cross_vol_5", "cross_vol_21", "cross_last_z")


@dataclass(frozen=True, eq=False)
class OtherSeries:
    """One series as others see it: its volatility ratios and its last move, on its own dates.

    Attributes
    ----------
    index : Index (n,)
    values : (n, 4)
        ``log e_2 / e_63``, ``log e_5 / e_63``, ``log e_21 / e_252`` and the last return in
        volatilities; row i is known at the close of row i. NaN before the first move.
    """

    index: pd.Index
    values: Array

    @classmethod
    def of(cls, index: pd.Index, moves: Array) -> OtherSeries:
        """From the moves of a series (n,) on their dates."""
        vol = Volatility(moves)
        columns = (
            vol.log(2) - vol.log(63),
            vol.log(5) - vol.log(63),
            vol.log(21) - vol.log(252),
            np.clip(vol.returns / vol[21], -CLIP, CLIP),
        )
        return cls(index, np.column_stack(columns))

    def on(self, rows: pd.Index) -> Array:
        """Values known at the closes of ``rows`` (m, 4); NaN where there are none that are recent.

        A series that has ended, or that pauses for more than five rows, is left out there rather
        than carried forward.
        """
        newest = newest_known(self.index, rows)
        at = np.maximum(newest, 0)
        past = rows[np.maximum(np.arange(len(rows)) - _RECENT, 0)]
        known = (newest >= 0) & np.asarray(self.index[at] >= past)
        return np.where(known[:, None], self.values[at], np.nan)


def newest_known(index: pd.Index, rows: pd.Index) -> NDArray[np.intp]:
    """Position in ``index`` of the newest label that is not after each row; -1 where none is."""
    return np.asarray(index.searchsorted(rows, side="right") - 1)


def cross_section_columns(others: Sequence[OtherSeries], rows: pd.Index) -> tuple[Columns, int]:
    """Five columns of other series, and the number of rows on which too few of them were known.

    The averages of ``log e_2 / e_63``, ``log e_5 / e_63``, ``log e_21 / e_252`` and of the last
    return in volatilities; and the spread between those returns, ``log(mean |z_j - mean z| +
    .05)``: large on days when companies, rather than the market, moved. Rows on which fewer than
    two series are known get zeros, as on a day like any other.

    Parameters
    ----------
    others : sequence of OtherSeries
        Without the series that the columns are for.
    rows : Index (m,)
    """
    if len(others) < FEWEST:
        raise InvalidInputError(
            f"a cross-section needs {FEWEST} other series or more, got {len(others)}"
        )
    total = np.zeros((len(rows), len(_AVERAGED)))
    number = np.zeros(len(rows))
    last = np.empty((len(others), len(rows)))
    for j, other in enumerate(others):
        values = other.on(rows)
        known = np.isfinite(values).all(axis=1)
        total[known] += values[known]
        number += known
        last[j] = np.where(known, values[:, 3], np.nan)
    enough = number >= FEWEST
    mean = total / np.maximum(number, 1.0)[:, None]
    distance = np.nansum(np.abs(last - mean[:, 3]), axis=0) / np.maximum(number, 1.0)
    columns = {name: mean[:, k] for k, name in enumerate(_AVERAGED)}
    columns["cross_spread"] = np.log(distance + _SPREAD_FLOOR)
    few = int((~enough).sum())
    return {name: np.where(enough, values, 0.0) for name, values in columns.items()}, few
