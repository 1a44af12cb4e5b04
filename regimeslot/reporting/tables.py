"""Tables as plain data: every cell already is the text that is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Cell", "Table", "cell"]


@dataclass(frozen=True)
class Cell:
    """Text of one cell, and whether it stands out; ``shade`` from 0 to 1 tints it."""

    text: str
    strong: bool = False
    shade: float | None = None


@dataclass(frozen=True)
class Table:
    """Caption, headers with their units, rows of cells.

    ``text_columns`` are aligned left; all others hold numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    text_columns: tuple[int, ...] = field(default=(0,))


def cell(text: str, *, strong: bool = False, shade: float | None = None) -> Cell:
    """One cell; missing numbers become words."""
    return Cell("n/a" if text in {"nan", "+nan", "inf", "-inf"} else text, strong, shade)
