"""What a bar adds to a series: a log return, a change or a value, and back to the level."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["level_after", "levels_of", "move_into", "moves_of", "rounding"]


def rounding(close: pd.Series) -> float:
    """Unit that the closes are rounded to, 0.01 for cents; 0 where they are not."""
    values = close.to_numpy(dtype=float)
    for digits in range(7):
        if np.allclose(values, np.round(values, digits), rtol=1e-12, atol=0.0):
            return float(10.0**-digits)
    return 0.0


def moves_of(close: pd.Series, transform: str) -> pd.Series:
    """Moves into each row but the first."""
    if transform == "level":
        return close.iloc[1:]
    moves = np.log(close).diff() if transform == "log-return" else close.diff()
    return moves.iloc[1:]


def move_into(before: float, now: float, transform: str) -> float:
    """Move from one level to the next."""
    if transform == "level":
        return now
    return float(np.log(now / before)) if transform == "log-return" else now - before


def levels_of(start: float, moves: pd.Series, transform: str) -> pd.Series:
    """Levels that the moves lead to from ``start``; :func:`moves_of` undone.

    Examples
    --------
    >>> levels_of(100.0, pd.Series([1.0, -2.0]), "diff").tolist()
    [101.0, 99.0]
    """
    if transform == "level":
        return moves
    if transform == "log-return":
        return start * np.exp(moves.cumsum())
    return start + moves.cumsum()


def level_after(before: float, move: float, transform: str) -> float:
    """Level that one move leads to."""
    if transform == "level":
        return move
    return before * float(np.exp(move)) if transform == "log-return" else before + move
