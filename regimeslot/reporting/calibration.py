"""Are the probabilities right? PIT histogram and how often the tail quantiles were passed."""

from __future__ import annotations

from typing import Any

import numpy as np

from regimeslot.evaluation.calibration import BINS, pit_histogram
from regimeslot.evaluation.risk import Coverage, coverage
from regimeslot.reporting.shapes import histogram_shape
from regimeslot.reporting.tables import Cell, Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count

__all__ = ["pit_section", "var_section"]

_ORDINALS = {0: "lowest", BINS - 1: "highest"}


def pit_section(view: View) -> dict[str, Any]:
    """PIT histogram with its band, title and numbers."""
    pit = pit_histogram(view.uniforms)
    heights, low, high, p, outside = pit.heights, pit.low, pit.high, pit.p, pit.outside
    if p >= 0.05:
        title = f"Calibrated as far as {BINS} bars can tell (p {p:.2f})"
    else:
        worst = int(np.argmax(np.abs(heights - 1.0)))
        title = (
            f"Not fully calibrated (p {_small(p)}): the {_ORDINALS.get(worst, 'marked')} twentieth "
            f"came {heights[worst]:.2f} times as often as forecast"
        )
    rows = [
        [
            cell(f"{j / BINS:.2f} to {(j + 1) / BINS:.2f}"),
            cell(f"{h:.2f}"),
            cell("outside the band" if h < low or h > high else "inside"),
        ]
        for j, h in enumerate(heights)
    ]
    return {
        "title": title,
        "alt": f"Histogram of the probability integral transform of {view.main} in {BINS} bars. "
        f"{title}. {outside} bars lie outside the 95 % band. "
        f"Bars run from {heights.min():.2f} to {heights.max():.2f} times the expected "
        f"count; the band from {low:.2f} to {high:.2f}.",
        "shape": histogram_shape(heights, low, high),
        "table": Table(
            "PIT histogram",
            ("PIT", "Rows, as a multiple of those expected", "95 % band"),
            rows,
            text_columns=(0, 2),
        ),
        "note": "How often the outcome fell into each twentieth of its forecast distribution. "
        "Level bars mean that the probabilities are right; a hump in the middle means "
        "forecasts too wide, a U too narrow, a slope a wrong mean. p is that of a chi-square test; "
        f"{outside} of {BINS} bars lie outside the band."
        + (" Targets overlap, so the band is too narrow." if view.horizon > 1 else "")
        + _drawn(view),
    }


def _drawn(view: View) -> str:
    if view.study.rounded_to is None:
        return ""
    return (
        f" Outcomes are rounded to {view.study.rounded_to:g}: each was drawn evenly within the "
        "probabilities of what rounds to it."
    )


def _small(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


_OVERLAP = (
    " Targets of more than one row overlap, so that hits come in runs: the p-values, which take "
    "rows as independent, are too small."
)


_OVERLAP = (
    " Targets of more than one row overlap, so that hits come in runs: the p-values, which take "
    "rows as independent, are too small."
)


def var_section(view: View) -> dict[str, Any]:
    """Table of raw and adapted coverage, and the finding in words.

    Returns have losses beyond a value at risk. Of a rate neither side is a loss, and both tails
    are shown as quantiles.
    """
    found = coverage(view.uniforms, horizon=view.horizon)
    if view.losses:
        names = [f"{100 * c.level:.0f} %" for c in found]
        each, kind = "beyond the {} VaR on", "Losses"
    else:
        names = [f"lower {100 * c.level:.0f} %" for c in found]
        each, kind = "below the {} quantile on", f"{view.noun.capitalize()}s"
    rows = [_coverage_row(name, c) for name, c in zip(names, found, strict=True)]
    if not view.losses:
        above = coverage(1.0 - view.uniforms, horizon=view.horizon)
        rows += [_coverage_row(f"upper {100 * c.level:.0f} %", c) for c in reversed(above)]
    first, *others = (
        f"{each.format(f'{100 * c.level:.0f} %')} {100 * c.raw:.2f} % of {view.period.plural} "
        f"({c.words})"
        for c in found
    )
    what = "the value at risk" if view.losses else "the quantiles"
    return {
        "title": ", ".join([f"{kind} went {first}", *others]),
        "table": Table(
            f"Coverage of {what}, as forecast and with an adaptive threshold",
            (
                "VaR" if view.losses else "Quantile",
                "Losses beyond it" if view.losses else f"{view.noun.capitalize()}s beyond it",
                "Raw rate, %",
                "p (Kupiec)",
                "In words",
                "Adapted rate, %",
                "p (Kupiec)",
            ),
            rows,
            text_columns=(0, 4),
        ),
        "note": "Raw is the forecast as it was made. Adapted moves the threshold after each hit "
        "and miss, using past rows alone; it repairs the rate, not the forecast."
        + (_OVERLAP if view.horizon > 1 else ""),
    }


def _coverage_row(name: str, c: Coverage) -> list[Cell]:
    return [
        cell(name),
        cell(count(c.hits.sum())),
        cell(f"{100 * c.raw:.2f}"),
        cell(_small(c.p)),
        cell(c.words),
        cell(f"{100 * c.adapted:.2f}"),
        cell(_small(c.adapted_p)),
    ]
