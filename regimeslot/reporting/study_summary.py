"""Everything the report of a study says, as plain data for the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regimeslot.reporting.study_charts import gain_chart, years_section
from regimeslot.reporting.study_sections import (
    coverage_section,
    headline_section,
    models_section,
    period_of,
    regime_value_section,
    regimes_section,
    series_count,
    series_section,
    steps_section,
    study_span,
    var_passes,
)
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.words import Period, count, signed

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy

__all__ = ["StudySummary", "summarize_study"]

Part = dict[str, Any]


@dataclass(frozen=True)
class StudySummary:
    """Plain data of a study's report. A part that cannot be made holds ``missing``: why.

    Attributes
    ----------
    title, data, banners
        As in the report of a run.
    answers : list of dict
        The first screen: heading, headline, level, lines.
    headline, models, series, years, regimes, regime_value, steps, coverage, settings : dict
        Sections with title, table and notes.
    gain : dict
        Chart of the average cumulative gain.
    time : dict
        Its time axis.
    """

    title: str
    data: dict[str, str]
    banners: list[str]
    answers: list[Part]
    headline: Part
    models: Part
    series: Part
    gain: Part
    time: Part
    years: Part
    regimes: Part
    regime_value: Part
    steps: Part
    coverage: Part
    settings: Part


def summarize_study(study: SeriesStudy) -> StudySummary:
    """Compute all that a study's report says.

    Parameters
    ----------
    study : SeriesStudy

    Examples
    --------
    >>> from regimeslot.evaluation.study import StudySettings, run_study
    >>> from regimeslot.prices import load_prices
    >>> held = {n: load_prices(n, source="bundled", start="2015-01-01") for n in ("KO", "PEP")}
    >>> study = run_study(held, StudySettings(models=("mean", "linear"), first="2022-01-03"))
    >>> summarize_study(study).headline["table"].columns[0]
    'mean over'
    """
    period = period_of(study)
    series = series_section(study, period)
    headline = headline_section(study, period)
    gain, time = gain_chart(study, period)
    return StudySummary(
        title=_title(study),
        data=_data(study),
        banners=_banners(study),
        answers=[_gain_answer(study, period), _series_answer(study), _regime_answer(study)],
        headline=headline,
        models=models_section(study, period),
        series=series,
        gain=gain,
        time=time,
        years=years_section(study, period),
        regimes=regimes_section(study, period),
        regime_value=regime_value_section(study, period),
        steps=steps_section(study, period),
        coverage=coverage_section(study, period),
        settings=_settings_section(study),
    )


# ------------------------------------------------------------------------------ first screen
def _title(study: SeriesStudy) -> str:
    return f"{study.main} on {series_count(len(study.panel.losses))}"


def _data(study: SeriesStudy) -> dict[str, str]:
    sources = sorted({str(held["source"]) for held in study.data.values()})
    names = {"bundled": "the bundled snapshot", "file": "files", "yahoo": "Yahoo"}
    rows = sum(len(losses) for losses in study.panel.losses.values())
    return {
        "series": f"{series_count(len(study.panel.losses))}"
        + (f", {len(study.panel.failures)} more failed" if study.panel.failures else ""),
        "source": "from " + " and ".join(names.get(s, "the cache") for s in sources),
        "span": f"forecasts {study_span(study)}",
        "rows": f"{count(rows)} forecasts of each model",
        "made": f"made {study.created:%Y-%m-%d %H:%M} UTC by regimeslot "
        f"{study.versions.get('regimeslot', '')}".rstrip(),
    }


def _banners(study: SeriesStudy) -> list[str]:
    said = [f"{name} could not be run: {why}." for name, why in study.panel.failures.items()]
    apart = [name for name in study.settings.apart if name in study.panel.losses]
    if apart:
        said.append(f"Set apart, shown but in no average and no count: {', '.join(apart)}.")
    if any(held["source"] == "bundled" for held in study.data.values()):
        said.append(
            "The bundled stocks were chosen by who has data to the end, so they are survivors: "
            "that flatters no model against another, but they are not a random sample."
        )
    return said


def _gain_answer(study: SeriesStudy, period: Period) -> Part:
    table = study.headline
    if not len(table):
        return {
            "heading": "Gain",
            "missing": "No baseline was run beside the model, so nothing says whether it is good.",
        }
    against = str(table.index[0])
    row = table.iloc[0]
    found = abs(row["t"]) >= 2.0
    level = "good" if found and row["gain"] > 0 else "bad"
    word = (
        "better than" if found and row["gain"] > 0 else "worse than" if found else "no better than"
    )
    lines = [
        f"95 % interval {signed(row['low'])} to {signed(row['high'])}, t {row['t']:.1f}; "
        f"half of the series gain {signed(row['median'])} or more.",
    ]
    others = [
        f"{signed(other['gain'])} over {name} (t {other['t']:.1f})"
        for name, other in table.iloc[1:4].iterrows()
    ]
    if others:
        lines.append(f"Also {', '.join(others)}.")
    return {
        "heading": f"Average gain over {against}",
        "headline": f"{study.main} is {word} {against}:",
        "big": f"{signed(row['gain'])} nats a {period.each}",
        "level": level,
        "lines": lines,
    }


def _series_answer(study: SeriesStudy) -> Part:
    table = study.headline
    if not len(table):
        return {"heading": "Series", "missing": "There is no baseline to be ahead of."}
    row, against = table.iloc[0], str(table.index[0])
    number = int(row["series"])
    lines = [
        f"Ahead of {against} on {int(row['won'])} of {number}; significantly worse on "
        f"{int(row['significantly_worse'])}.",
    ]
    inside = study.models["in_set"]
    if study.main in inside and len(study.sets):
        total = sum(name in study.counted.losses for name in study.sets.index)
        lines.append(
            f"Among the best models (90 % confidence set) on {int(inside[study.main])} of {total}."
        )
    raw = var_passes(study)
    if raw is not None:
        lines.append(raw)
    return {
        "heading": "Series by series",
        "headline": "Significantly better on",
        "big": f"{int(row['significant'])} of {number} series",
        "level": "good" if row["significant"] > number / 2 else "bad",
        "lines": lines,
    }


def _regime_answer(study: SeriesStudy) -> Part:
    value = study.regime_value
    told = value[value["against"] == "slots-static"] if len(value) else value
    if not len(told):
        return {"heading": "How much of it is regimes", "missing": study.regime_words}
    paid, cost = bool((told["t"] >= 2.0).any()), bool((told["t"] <= -2.0).any())
    _, rest = study.regime_words.split(". ", 1)  # its first sentence is the headline here
    return {
        "heading": "How much of it is regimes",
        "headline": "Switching pays"
        if paid
        else "Switching costs here"
        if cost
        else "No regimes found",
        "big": "",
        "level": "good" if paid else "",
        "lines": [rest],
    }


def _settings_section(study: SeriesStudy) -> Part:
    kept = study.settings
    first = kept.first or (kept.train_size and f"after {count(kept.train_size)} returns")
    rows = [
        ("Models", ", ".join(kept.models)),
        ("Series", ", ".join(study.panel.losses)),
        ("First forecast", str(first or "after 2,500 returns, or half of a shorter series")),
        ("Refit every", f"{kept.refit_every} rows" if kept.refit_every else "year"),
        ("Target", f"{kept.transform} over {kept.horizon} row{'s' if kept.horizon > 1 else ''}"),
        ("Features", _features(study)),
        ("Seed", str(kept.seed)),
        ("Processor time", f"{count(sum(study.panel.seconds.values()))} s for all models"),
        ("Versions", ", ".join(f"{name} {v}" for name, v in study.versions.items())),
        *(("Note", note) for note in study.notes),
    ]
    return {
        "command": study.command,
        "table": Table(
            "Settings",
            ("Setting", "Value"),
            [[cell(name), cell(value)] for name, value in rows],
            text_columns=(0, 1),
        ),
    }


def _features(study: SeriesStudy) -> str:
    said = ["each series' own past"]
    if study.market is not None:
        said.append(f"the past of {study.market}, as the market")
    if study.settings.cross_section:
        said.append("the past of the other series, as the cross-section")
    return ", ".join(said)
