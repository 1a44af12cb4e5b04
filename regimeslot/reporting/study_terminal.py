"""A study for a terminal: the headline table, and what it means, in 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regimeslot.reporting.study_charts import years_section
from regimeslot.reporting.study_sections import (
    Part,
    coverage_section,
    headline_section,
    period_of,
    regimes_section,
    series_count,
    series_section,
    study_span,
)
from regimeslot.reporting.words import wrapped

if TYPE_CHECKING:
    from rich.table import Table

    from regimeslot.evaluation.study import SeriesStudy

__all__ = ["study_answers"]

_WIDTH = 80


def study_answers(study: SeriesStudy) -> tuple[Any, ...]:
    """What ``regimeslot study`` prints: strings and rich tables, in their order.

    Parameters
    ----------
    study : SeriesStudy
    """
    period = period_of(study)
    number = len(study.counted.losses)
    apart = [name for name in study.settings.apart if name in study.panel.losses]
    lead = f"{study.main} on {series_count(number)}, forecasts {study_span(study)}"
    if apart:
        lead += f" (apart: {', '.join(apart)})"
    head = headline_section(study, period)
    parts: list[Any] = [*wrapped(lead), ""]
    if "missing" in head:
        return (*parts, head["missing"])
    short = ("over", "gain", "t", "median", "ahead", "p<.05", "worse", "CRPS %", "p<.05")
    parts += [
        _table(head, dict(enumerate((*short, "QLIKE", "p<.05")))),
        *wrapped(
            f"Gain: nats a {period.each}, mean over series; t of its daily averages. Counts of "
            f"{number} series: ahead, significantly better and worse (single comparisons, p < .05; "
            "by chance 1 in 40 each way). CRPS and QLIKE lower by, and series significantly better."
        ),
        "",
        *wrapped(_sets(study)),
        *wrapped(study.regime_words),
        "",
    ]
    references = study.references
    series = series_section(study, period)
    wanted = [0, 2, 3, 4, 5] if len(references) > 1 else [0, 2, 3]
    names = dict(zip(wanted, ("series", f"over {references[0]}", "t"), strict=False))
    if len(references) > 1:
        names |= {4: f"over {references[1]}", 5: "t"}
    columns = series["table"].columns
    names |= {columns.index("In 90 % set"): "90 % set", columns.index("CRPS lower by, %"): "CRPS %"}
    parts += [_table(series, names), ""]
    coverage = coverage_section(study, period)
    if "missing" not in coverage:
        parts += [*wrapped(_coverage_words(coverage)), ""]
    years = years_section(study, period)
    if "missing" not in years:
        shown = references[: 3 if len(references) > 2 else len(references)]
        heads = ["year", "series", *(f"over {name}" for name in shown)]
        parts += [_table(years, dict(enumerate(heads))), ""]
    regimes = regimes_section(study, period)
    if "missing" not in regimes:
        heads = ["regime", "share"]
        for name in references[:2]:
            heads += [f"over {name}", "t"]
        parts += [_table(regimes, dict(enumerate(heads)))]
        parts += wrapped(f"Regime: predicted before the day by {study.regime_model}.")
    return tuple(parts)


def _sets(study: SeriesStudy) -> str:
    sets = study.sets.loc[[n for n in study.sets.index if n in study.counted.losses]]
    if not len(sets):
        return "No confidence set: it needs two models or more."
    inside = study.models["in_set"].sort_values(ascending=False, kind="stable")
    told = ", ".join(f"{name} {int(inside[name])}" for name in inside.index[:6])
    return (
        f"In the 90 % model confidence set (a multiple comparison), of {len(sets)} series: {told}."
    )


def _coverage_words(part: Part) -> str:
    said = []
    for row in part["table"].rows:
        level, threshold, mean, _, passes = (c.text for c in row)
        kind = "raw" if threshold.startswith("As") else "adapted"
        said.append(f"{level} {kind} {mean} % ({passes})")
    return f"{part['heading']}, mean rate (Kupiec passes): {'; '.join(said)}."


def _table(part: Part, heads: dict[int, str]) -> Table:
    """Some columns of a section's table, under short headings."""
    from rich.table import Table
    from rich.text import Text

    held = part["table"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.title = Text(part["title"])
    table.title_justify = "left"
    text = {0, *np.intersect1d(held.text_columns, list(heads)).tolist()}
    for i, name in sorted(heads.items()):
        table.add_column(name, justify="left" if i in text else "right", no_wrap=True)
    for row in held.rows:
        table.add_row(
            *(Text(row[i].text, style="bold" if row[i].strong else "") for i in sorted(heads))
        )
    return table
