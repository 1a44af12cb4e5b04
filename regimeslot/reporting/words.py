"""How numbers, dates and verdicts are written: units always said, no more digits than are known."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import pandas as pd

from regimeslot.evaluation.comparison import SIGNIFICANT

__all__ = [
    "PERIODS",
    "Period",
    "Unit",
    "count",
    "date",
    "fixed",
    "probability",
    "share",
    "signed",
    "verdict",
    "wrapped",
]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


@dataclass(frozen=True)
class Period:
    """What one row is called, and how many make a year.

    Attributes
    ----------
    step : str
        "session" where rows are trading days, else "week", "month", ...
    each : str
        The same in "nats a day".
    per_year : float or None
        None where it is not known; then nothing is annualised.
    """

    step: str
    each: str
    per_year: float | None

    @property
    def plural(self) -> str:
        """The noun for several rows: "sessions"."""
        return f"{self.step}s"

    def steps(self, number: float) -> str:
        """Number with its noun: "1 session", "5,800 sessions"."""
        return f"{count(number)} {self.step if round(number) == 1 else self.plural}"


PERIODS = {
    "daily": Period("session", "day", 252.0),
    "weekly": Period("week", "week", 52.0),
    "monthly": Period("month", "month", 12.0),
    "quarterly": Period("quarter", "quarter", 4.0),
    "yearly": Period("year", "year", 1.0),
    "irregular": Period("row", "row", None),
}


_HUGE = 1e6  # from here on digits before the point say no more than their number
_HIDDEN = 1e-4  # of the last digit: less is rounding error of the machine


@dataclass(frozen=True)
class Unit:
    """Unit in which forecasts are shown.

    Attributes
    ----------
    factor : float
        From the data's unit to the shown one: 100 for log returns.
    name : str
        "%" for log returns, "units" for others.
    decimals : int
        Digits after the point that a typical move deserves.
    """

    factor: float
    name: str
    decimals: int

    @classmethod
    def of(cls, transform: str, typical: float) -> Unit:
        """Unit of a transform, with digits for moves of ``typical`` size in the data's unit."""
        factor, name = (100.0, "%") if transform == "log-return" else (1.0, "units")
        shown = abs(typical) * factor
        decimals = 2 if not shown > 0 else int(min(max(1 - math.floor(math.log10(shown)), 0), 6))
        return cls(factor, name, decimals)

    def number(self, value: float, *, plus: bool = False, extra: int = 0) -> str:
        """Value without the unit."""
        if not math.isfinite(value):
            return "n/a"
        digits = self.decimals + extra
        shown, sign = value * self.factor, "+" if plus else ""
        if abs(shown) >= _HUGE:
            return f"{shown:{sign}.1e}"
        if self.factor == 1.0 and _HIDDEN < abs(shown) * 10**digits < 0.5:
            return f"{shown:{sign}.2g}"  # beside large moves a small one must not become none
        return f"{_clean(shown, digits):{sign},.{digits}f}"

    def text(self, value: float, *, plus: bool = False, extra: int = 0) -> str:
        """Value with the unit."""
        return f"{self.number(value, plus=plus, extra=extra)} {self.name}"


def _clean(value: float, decimals: int) -> float:
    """Rounded, without a minus in front of zero."""
    return round(value, decimals) + 0.0


def date(label: object, *, weekday: bool = True) -> str:
    """A date as an exchange writes it, "Mon 2 Jan 2023"; other labels as they are."""
    if not isinstance(label, pd.Timestamp):
        return str(label)
    day = f"{label.day} {_MONTHS[label.month - 1]} {label.year}"
    return f"{_DAYS[label.weekday()]} {day}" if weekday else day


def count(number: float) -> str:
    """Whole number with thousands separated."""
    return f"{round(number):,}"


def signed(value: float, decimals: int = 4) -> str:
    """Number that always shows its sign: a gain."""
    return fixed(value, decimals, "+")


def fixed(value: float, decimals: int, sign: str = "") -> str:
    """Number with so many decimals, or with an exponent where it is huge."""
    if not math.isfinite(value):
        return "n/a"
    if abs(value) >= _HUGE:
        return f"{value:{sign}.1e}"
    return f"{_clean(value, decimals):{sign},.{decimals}f}"


def share(value: float, decimals: int = 0) -> str:
    """Share as a percentage."""
    return "n/a" if not math.isfinite(value) else f"{100.0 * value:.{decimals}f} %"


def probability(value: float) -> str:
    """Probability in whole percent, never rounded to certainty."""
    if 0.0 < value < 0.005:
        return "below 1 %"
    if 0.995 <= value < 1.0:
        return "above 99 %"
    return share(value)


def wrapped(text: str, width: int = 80) -> list[str]:
    """Lines of at most ``width`` columns, whole words: a model's name can be copied from one.

    Examples
    --------
    >>> wrapped("add slots-static", 12)
    ['add', 'slots-static']
    """
    return textwrap.wrap(text, width, break_on_hyphens=False)


def verdict(t: float, better: str = "better", worse: str = "worse") -> str:
    """Significance in words."""
    if not math.isfinite(t):
        return "not comparable"
    if abs(t) < SIGNIFICANT:
        return "no difference found"
    return better if t > 0 else worse
