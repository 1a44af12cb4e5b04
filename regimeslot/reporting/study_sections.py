"""Sections of a study's report: each a title that states the finding, a table, and notes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from regimeslot.models.slot_view import regime_names
from regimeslot.reporting.tables import Cell, Table, cell
from regimeslot.reporting.words import PERIODS, Period, count, date, share, signed, verdict

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy

__all__ = [
    "Part",
    "coverage_section",
    "headline_section",
    "models_section",
    "period_of",
    "regime_value_section",
    "regimes_section",
    "series_count",
    "series_section",
    "steps_section",
    "study_span",
    "var_passes",
]

Part = dict[str, Any]

_SINGLE = (
    "Significant: p below .05 by Diebold-Mariano with the correction of Harvey, Leybourne and "
    "Newbold and Newey-West variance. Each is a single comparison: of equally good models one "
    "series in forty comes out as better by chance. "
)
_BY_DAY = (
    "The t of an average over series is by day: the series' differences are averaged day by day "
    "first, because series that move together are not independent witnesses."
)


def period_of(study: SeriesStudy) -> Period:
    """What a row of the study is called."""
    index = next(iter(study.panel.losses.values())).index
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return PERIODS["irregular"]
    from regimeslot.prices import infer_frequency

    return PERIODS[infer_frequency(index)]


def series_count(number: int) -> str:
    """Number of series with its noun."""
    return "1 series" if number == 1 else f"{number} series"


def study_span(study: SeriesStudy) -> str:
    """First and last day that was forecast."""
    indices = [losses.index for losses in study.panel.losses.values()]
    first, last = min(i[0] for i in indices), max(i[-1] for i in indices)
    return f"{date(first, weekday=False)} to {date(last, weekday=False)}"


def var_passes(study: SeriesStudy) -> str | None:
    """On how many series the value at risk has the right rate, raw and adapted, in words."""
    table = study.coverage
    table = table[[name in study.counted.losses for name in table.index]] if len(table) else table
    if not len(table):
        return None
    raw_1, raw_5, adapted_1, adapted_5 = (
        int((table[f"{kind}_p_{level}"] >= 0.05).sum())
        for kind in ("raw", "adapted")
        for level in ("1", "5")
    )
    what = "VaR as forecast has" if _losses(study) else "Low quantiles as forecast have"
    return (
        f"{what} the right rate on {raw_1} of {len(table)} at 1 % and {raw_5} at 5 %, "
        f"with adaptive thresholds on {adapted_1} and {adapted_5}."
    )


def _losses(study: SeriesStudy) -> bool:
    """Whether the low side of a target is a loss: of returns, not of rates and levels."""
    return study.settings.transform == "log-return"


def headline_section(study: SeriesStudy, period: Period) -> Part:
    """Main model against each reference."""
    rows: list[list[Cell]] = []
    for against, row in study.headline.iterrows():
        rows.append(
            [
                cell(str(against)),
                cell(signed(row["gain"]), strong=abs(row["t"]) >= 2.0),
                cell(f"{row['t']:.1f}"),
                cell(signed(row["median"])),
                cell(f"{int(row['won'])}"),
                cell(f"{int(row['significant'])}"),
                cell(f"{int(row['significantly_worse'])}"),
                cell(signed(100.0 * row["crps_gain"], 2)),
                cell(f"{int(row['crps_significant'])}"),
                cell(signed(row["qlike_gain"], 3)),
                cell(f"{int(row['qlike_significant'])}"),
            ]
        )
    number = len(study.counted.losses)
    if not rows:
        return {"missing": "No other model was run, so there is nothing to compare with."}
    first = study.headline.iloc[0]
    title = (
        f"{study.main} is better than {study.headline.index[0]} on {int(first['won'])} of "
        f"{series_count(number)}, significantly on {int(first['significant'])}"
    )
    table = Table(
        f"{study.main} over each baseline, averages and counts over {series_count(number)}",
        (
            f"{study.main} over",
            f"Gain, nats a {period.each}",
            "t",
            "Median gain",
            "Series ahead",
            "Significantly better",
            "Significantly worse",
            "CRPS lower by, %",
            "CRPS significantly better",
            "QLIKE lower by",
            "QLIKE significantly better",
        ),
        rows,
    )
    return {"title": title, "table": table, "notes": [_SINGLE + _BY_DAY]}


def models_section(study: SeriesStudy, period: Period) -> Part:
    """Every model of the study, and how often it is among the best."""
    sets = study.sets.loc[[n for n in study.sets.index if n in study.counted.losses]]
    reference = study.references[0] if study.references else None
    rows = []
    for name, row in study.models.iterrows():
        rows.append(
            [
                cell(str(name), strong=name == study.main),
                cell(f"{row['log_score']:.4f}"),
                cell("" if name == reference else signed(row["gain"])),
                cell("" if name == reference else f"{row['t']:.1f}"),
                cell(f"{int(row['series'])}"),
                cell(f"{int(row['in_set'])}" if len(sets) else "n/a"),
            ]
        )
    best = study.models["in_set"]
    title = f"{study.models.index[0]} has the best average log score of {len(study.models)} models"
    if len(sets) and study.main in best:
        title = (
            f"{study.main} is in the 90 % model confidence set of {int(best[study.main])} of "
            f"{series_count(len(sets))}"
        )
    table = Table(
        "All models",
        (
            "Model",
            f"Log score, nats a {period.each}",
            f"Gain over {reference}",
            "t",
            "Series run",
            f"In the confidence set, of {len(sets)}",
        ),
        rows,
    )
    return {
        "title": title,
        "table": table,
        "notes": [
            "The confidence set is a multiple comparison: it holds the best model of a series with "
            "probability .9, allowing for all models having been looked at (Hansen, Lunde and "
            "Nason, 2011).",
            *(
                f"{model} could not be run on {name}: {why}."
                for name, lost in study.panel.model_failures.items()
                for model, why in lost.items()
            ),
        ],
    }


def series_section(study: SeriesStudy, period: Period) -> Part:
    """Every series, by its gain over the first baseline."""
    references = study.references[:3]
    if not references:
        return {"missing": "No other model was run, so there is nothing to compare with."}
    first = references[0]
    rates = study.coverage.to_dict("index")
    rows = []
    for name, row in study.series.iterrows():
        cells = [
            cell(f"{name} (apart)" if row["apart"] else str(name)),
            cell(count(row["rows"])),
        ]
        for against in references:
            t = row[f"t:{against}"]
            cells += [
                cell(signed(row[f"gain:{against}"]), strong=abs(t) >= 2.0),
                cell("n/a" if not math.isfinite(t) else f"{t:.1f}"),
            ]
        cells += [
            cell(verdict(row[f"t:{first}"])),
            cell(signed(100.0 * row["crps_gain"], 2)),
            cell(signed(row["qlike_gain"], 3)),
            cell("yes" if row.get("in_set", False) else "no"),
        ]
        if str(name) in rates:
            cells += [
                cell(f"{100.0 * rates[str(name)][column]:.2f}")
                for column in ("raw_1", "adapted_1", "raw_5", "adapted_5")
            ]
        else:
            cells += [cell("n/a")] * 4
        rows.append(cells)
    columns = ["Series", "Forecasts"]
    for against in references:
        columns += [f"Gain over {against}", "t"]
    columns += [f"Against {first}", "CRPS lower by, %", "QLIKE lower by", "In 90 % set"]
    beyond = "Beyond {} % VaR, %" if _losses(study) else "Below {} % quantile, %"
    columns += [beyond.format(1), "adapted, %", beyond.format(5), "adapted, %"]
    place = columns.index(f"Against {first}")
    gains = study.series.loc[~study.series["apart"], f"gain:{first}"]
    best, worst = gains.index[0], gains.index[-1]
    return {
        "title": f"From {signed(gains[worst])} on {worst} to {signed(gains[best])} on {best}",
        "table": Table(
            f"{study.main} on every series, gains in nats a {period.each}",
            tuple(columns),
            rows,
            text_columns=(0, place, place + 3),
        ),
        "notes": ["A click on a heading sorts the table. " + _SINGLE],
    }


def regimes_section(study: SeriesStudy, period: Period) -> Part:
    """Gain by the regime that was predicted before each row."""
    table = study.regimes
    if not len(table):
        return {
            "missing": "No model with regimes was run, so rows are not told apart by them. Add "
            "one: markov-t."
        }
    first = study.references[0] if study.references else None
    held = [a for a in study.references if f"gain:{a}" in table]
    names = regime_names(len(table))
    rows = []
    for name, (_, row) in zip(names, table.iterrows(), strict=True):
        cells = [cell(name), cell(share(row["share"]))]
        for against in held:
            t = row[f"t:{against}"]
            cells.append(cell(signed(row[f"gain:{against}"]), strong=abs(t) >= 2.0))
            cells.append(cell("n/a" if not math.isfinite(t) else f"{t:.1f}"))
        rows.append(cells)
    columns = ["Predicted regime", "Share of rows"]
    for against in held:
        columns += [f"Gain over {against}", "t"]
    title = "Gain by regime"
    if first in held:
        gains = table[f"gain:{first}"]
        best = int(gains.to_numpy().argmax())
        title = (
            f"The gain over {first} is largest in {names[best]} times: {signed(gains.iloc[best])}"
        )
    return {
        "title": title,
        "names": names,
        "table": Table(
            f"Average gain by predicted regime, nats a {period.each}", tuple(columns), rows
        ),
        "notes": [
            f"The regime of a row is the one that {study.regime_model} predicted as the likeliest "
            "for that series before the row, so that no row is sorted by what came after. "
            + _BY_DAY
        ],
    }


def regime_value_section(study: SeriesStudy, period: Period) -> Part:
    """What is memory, what is gating, and what merely comes with them."""
    table = study.regime_value
    if not len(table):
        return {
            "missing": "No pair of models was run that differs in its selector alone. Add "
            "slots-static and slots-sticky."
        }
    rows = [
        [
            cell(str(question)),
            cell(f"{row['model']} over {row['against']}"),
            cell(signed(row["gain"])),
            cell(f"{signed(row['low'])} to {signed(row['high'])}"),
            cell(f"{row['t']:.1f}"),
            cell(f"{row['pays']} / {row['costs']} of {row['series']}"),
            cell(row["words"]),
        ]
        for question, row in table.iterrows()
    ]
    return {
        "title": study.regime_words.split(". ")[0],
        "table": Table(
            "Regime value, averages over series",
            (
                "Question",
                "Comparison",
                f"Gain, nats a {period.each}",
                "95 % interval",
                "t",
                "Series where it pays / costs",
                "In words",
            ),
            rows,
            text_columns=(0, 1, 6),
        ),
        "notes": [
            study.regime_words,
            "Both models of a row share their experts and differ in the selector alone. "
            f"{len(table)} comparisons side by side: a single t of 2 among them is weak evidence. "
            + _BY_DAY,
        ],
    }


def steps_section(study: SeriesStudy, period: Period) -> Part:
    """The gain in steps that add up."""
    table = study.steps
    if not len(table):
        return {
            "missing": "The gain cannot be split into steps: that needs slots-single, slots-static "
            "and slots-sticky on every series."
        }
    rows = [
        [
            cell(str(step), strong=step == table.index[-1]),
            cell(f"{row['model']} over {row['against']}"),
            cell(signed(row["gain"]), strong=step == table.index[-1]),
            cell(f"{row['t']:.1f}"),
            cell(verdict(row["t"], "adds", "costs")),
        ]
        for step, row in table.iterrows()
    ]
    whole = table.iloc[-1]
    regimes = table[table["regimes"].astype(bool)].iloc[0]
    chance = "" if abs(regimes["t"]) >= 2.0 else ", which may be chance"
    return {
        "title": f"{signed(regimes['gain'])} of {signed(whole['gain'])} nats a {period.each} come "
        f"from switching regimes{chance}",
        "table": Table(
            f"Gain of {study.main} over {whole['against']}, step by step, averages over series",
            ("Step", "Comparison", f"Gain, nats a {period.each}", "t", "In words"),
            rows,
            text_columns=(0, 1, 4),
        ),
    }


def coverage_section(study: SeriesStudy, period: Period) -> Part:
    """Losses beyond the value at risk: how many series have the right rate."""
    table = study.coverage
    counted = table[[name in study.counted.losses for name in table.index]] if len(table) else table
    losses = _losses(study)
    heading = "Losses beyond the value at risk" if losses else "Values below the low quantiles"
    if not len(counted):
        return {
            "heading": heading,
            "missing": "Targets of several rows overlap: whether one was hit is not known before "
            "the next threshold, so rates are given for targets of one row alone.",
        }
    rows = []
    for level in ("1", "5"):
        for kind, words in (("raw", "As forecast"), ("adapted", "With an adaptive threshold")):
            rates, p = counted[f"{kind}_{level}"], counted[f"{kind}_p_{level}"]
            rows.append(
                [
                    cell(f"{level} %"),
                    cell(words),
                    cell(f"{100.0 * rates.mean():.2f}"),
                    cell(f"{100.0 * rates.min():.2f} to {100.0 * rates.max():.2f}"),
                    cell(f"{int((p >= 0.05).sum())} of {len(p)}"),
                ]
            )
    title = var_passes(study) or ""
    return {
        "heading": heading,
        "title": title.removesuffix("."),
        "table": Table(
            f"{heading}, forecasts of {study.main}",
            (
                "VaR" if losses else "Quantile",
                "Threshold",
                "Mean rate, %",
                "Lowest to highest, %",
                "Kupiec passes, series",
            ),
            rows,
            text_columns=(0, 1),
        ),
        "notes": [
            "Raw is the forecast as it was made. The adaptive threshold moves after each hit and "
            "miss by fixed steps (.002 at 1 %, .01 at 5 %), using past rows alone; it repairs the "
            f"rate over time, not the forecast of a {period.each}."
        ],
    }
