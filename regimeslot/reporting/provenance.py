"""What data from where, what made the report, and how to make it again."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import regimeslot
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count, date

__all__ = ["banners", "data_line", "settings_section"]

_SOURCES = {
    "yahoo": "Yahoo Finance",
    "cache": "Yahoo Finance, local cache",
    "file": "file",
    "bundled": "bundled snapshot",
}
_STALE_WORDS = ("cached", "stale")  # only a stale cache has a note about itself


def banners(view: View) -> list[str]:
    """Sentences that a reader must see before the numbers."""
    if view.run is None:
        return []
    prices = view.run.prices
    last = date(prices.frame.index[-1])
    said = []
    if prices.proxy_for:
        said.append(f"{prices.symbol} stands in for {prices.proxy_for}.")
    if prices.source == "bundled":
        said.append(f"The prices are the bundled snapshot, not today's: they end on {last}.")
    if prices.source == "cache" and _is_stale(prices):
        said.append(f"The prices are a stale cache, not today's: they end on {last}.")
    return said


def _is_stale(prices: Any) -> bool:
    return any(word in note.lower() for note in prices.notes for word in _STALE_WORDS)


def data_line(view: View) -> dict[str, str]:
    """Symbol, source, span, rows, when and by which version."""
    index = view.index
    line = {
        "rows": f"{count(len(index))} forecasts from {date(index[0], weekday=False)}",
        "made": f"made {_moment(datetime.now(UTC))}, regimeslot {regimeslot.__version__}",
    }
    if view.run is None:
        return {"series": str(view.study.dataset.name)} | line
    prices, run = view.run.prices, view.run
    rows = prices.frame.index
    return {
        "series": prices.symbol,
        "source": _SOURCES.get(prices.source, prices.source),
        "span": f"{date(rows[0], weekday=False)} to {date(rows[-1], weekday=False)}, "
        f"{count(len(rows))} rows",
        "rows": line["rows"],
        "made": f"made {_moment(run.created)}, regimeslot "
        f"{run.versions.get('regimeslot', regimeslot.__version__)}",
    }


def settings_section(view: View) -> dict[str, Any]:
    """Data, settings, versions and the command, as one table."""
    rows: list[tuple[str, str]] = []
    dataset = view.study.dataset
    if view.run is not None:
        prices = view.run.prices
        rows += [
            ("Ticker as asked", prices.ticker),
            ("Symbol as held", prices.symbol),
            ("Source", _SOURCES.get(prices.source, prices.source)),
            ("Stands in for", prices.proxy_for or "nothing"),
            ("Data as of", _moment(prices.as_of) if prices.as_of is not None else "not known"),
            ("First and last day", " to ".join(date(prices.frame.index[i]) for i in (0, -1))),
            ("Rows", count(len(prices.frame))),
        ]
    rows += [
        (
            "Rows forecast",
            f"{count(len(view.index))}, {date(view.index[0])} to {date(view.index[-1])}",
        ),
        ("Refits", f"{len(view.study.folds)}, each on rows before its forecasts"),
        ("Transform and horizon", f"{dataset.transform}, {view.period.steps(dataset.horizon)}"),
    ]
    rows += [("Note on the data", note) for note in _notes(view)]
    settings = dict(view.study.settings)
    models = settings.pop("models", {})
    if view.run is not None:
        settings |= _plain(view.run.settings)
        settings.pop("models", None)
    rows += [(f"Setting {k}", str(v)) for k, v in settings.items() if v is not None]
    if isinstance(models, dict):
        rows += [(f"Model {name}", str(setting)) for name, setting in models.items()]
    versions = view.run.versions if view.run is not None else {"regimeslot": regimeslot.__version__}
    rows.append(("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return {
        "command": view.run.command if view.run is not None else "",
        "table": Table(
            "Data, settings and versions",
            ("What", "Value"),
            [[cell(name), cell(text)] for name, text in rows],
            text_columns=(0, 1),
        ),
    }


def _notes(view: View) -> list[str]:
    notes = list(view.run.prices.notes) if view.run is not None else []
    return list(dict.fromkeys([*notes, *view.study.dataset.notes]))


def _plain(settings: Any) -> dict[str, Any]:
    if is_dataclass(settings) and not isinstance(settings, type):
        return asdict(settings)
    return dict(settings)


def _moment(when: datetime) -> str:
    stamp = pd.Timestamp(when)
    zone = " UTC" if stamp.tzinfo is not None else ""
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC")
    return f"{date(stamp, weekday=False)}, {stamp:%H:%M}{zone}"
