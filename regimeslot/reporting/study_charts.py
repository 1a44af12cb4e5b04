"""Gain over time in a study's report: the average cumulative gain, and a bar for each year."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from regimeslot.evaluation.comparison_time import cumulative_band
from regimeslot.reporting.shapes import bars_shape
from regimeslot.reporting.study_sections import Part, study_span
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.thin import encode, encode_index, resolution
from regimeslot.reporting.words import Period, signed

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy

__all__ = ["gain_chart", "years_section"]


def gain_chart(study: SeriesStudy, period: Period) -> tuple[Part, Part]:
    """Average cumulative gain over each baseline, as the report of a run draws it."""
    lines, said, cells, headers = [], [], [], []
    index: pd.Index | None = None
    years: pd.DataFrame = study.years
    for against in study.references:
        table = study.counted.differences(study.main, against)
        if table.empty:
            continue
        by_day = table.mean(axis=1)
        index = by_day.index if index is None else index
        gain = by_day.reindex(index).fillna(0.0).to_numpy()
        horizon = max(study.panel.horizons[str(name)] for name in table.columns)
        total = np.cumsum(gain)
        rows, low, high = cumulative_band(gain, horizon=horizon)
        step = resolution(np.concatenate([total, low, high]), 1000)
        lines.append(
            {
                "name": f"over {against}",
                "gain": encode(total, step),
                "rows": encode(rows, 1),
                "low": encode(low, step),
                "high": encode(high, step),
            }
        )
        said.append(f"{signed(float(total[-1]), 1)} nats over {against}")
        headers.append(f"Over {against}")
        if len(years):
            cells.append([signed(v) for v in years[f"gain:{against}"]])
    if index is None:
        missing = {"missing": "No baseline was run, so there is nothing to gain over."}
        return missing, {"kind": "row", **encode(np.arange(1.0), 1.0)}
    rows_by_year = [
        [cell(str(year)), *(cell(column[i]) for column in cells)]
        for i, year in enumerate(years.index)
    ]
    chart = {
        "title": f"An average series gains {said[0]}",
        "alt": f"Cumulative log-score gain of {study.main}, average over series, "
        f"{study_span(study)}: {'; '.join(said)}.",
        "y_label": "average cumulative gain, nats",
        "lines": lines,
        "columns": {},
        "note": "Rising: the model beats that baseline on an average series. Lines far from the "
        "first wait for a click on their name. The band is what chance alone moves, by a 95 % "
        "block bootstrap of the daily averages.",
        "table": Table(
            f"Average gain by year, nats a {period.each}", ("Year", *headers), rows_by_year
        ),
    }
    return chart, encode_index(index)


def years_section(study: SeriesStudy, period: Period) -> Part:
    """Gain by calendar year."""
    table = study.years
    if not len(table):
        return {"missing": "The rows have no dates, so there are no years to tell apart."}
    first = study.references[0]
    held = [a for a in study.references if f"gain:{a}" in table]
    gains = table[f"gain:{first}"]
    ahead = int((gains > 0).sum())
    rows = []
    for year, row in table.iterrows():
        cells = [cell(str(year)), cell(f"{int(row['series'])}")]
        cells += [cell(signed(row[f"gain:{against}"])) for against in held]
        rows.append([*cells, cell(f"{int(row[f'won:{first}'])}")])
    columns = ("Year", "Series", *(f"Gain over {a}" for a in held), f"Series ahead of {first}")
    return {
        "title": f"Ahead of {first} in {ahead} of {len(table)} years on average",
        "alt": f"Average gain of {study.main} over {first} by year: "
        + ", ".join(f"{year} {signed(g)}" for year, g in gains.items())
        + ".",
        "shape": bars_shape(gains.to_numpy(float), [str(y) for y in table.index], signed),
        "axis": f"average gain over {first}, nats a {period.each}",
        "table": Table(f"Average gain by year, nats a {period.each}", columns, rows),
    }
