"""``regimeslot forecast``: the next session by the models of a run folder, without a refit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regimeslot.cli.fit_command import describe, load
from regimeslot.cli.options import run_options
from regimeslot.cli.screen import Screen, one_thread
from regimeslot.errors import DataError, InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.folder import SavedRun
    from regimeslot.evaluation.resume import Resumed
    from regimeslot.models.base import Forecaster
    from regimeslot.prices import Prices

__all__ = ["forecast", "forecast_words", "newer_prices", "where_from"]


@click.command()
@run_options
@click.option("--end", metavar="DATE", help="Last day to use.  [default: the newest]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def forecast(
    run: str, source: str | None, file: str | None, end: str | None, as_json: bool
) -> None:
    """Forecast the next session with the models of the run folder RUN.

    Brings the prices up to date and moves the models past the new sessions without fitting
    anything again; where regimeslot update has recorded bars, it starts from those. The folder
    is not changed.
    """
    from regimeslot.evaluation.folder import read_run
    from regimeslot.evaluation.resume import resume
    from regimeslot.persistence import load as load_model

    saved = read_run(run)
    day = _last_day(saved, end)
    screen = Screen(quiet=as_json)
    with screen.listening(), one_thread():
        models = {name: load_model(saved.model_file(name)) for name in saved.models}
        try:
            prices, market = newer_prices(screen, saved, source, file, end)
        except DataError as error:
            if source is not None or file is not None or saved.settings["file"]:
                raise  # what was asked for by name must not be replaced
            screen.note([f"{error} The forecast is made from the run's own prices."], "Warning")
            prices, market = None, None
        result = resume(saved, models, prices, market, end=day)
    screen.note_fits()
    screen.note(_fit_notes(saved, models))
    screen.note(result.notes)
    told = {"forecast": result.description, "notes": screen.notes}
    record = {**where_from(saved, result), **told}
    words = json.dumps(record, indent=2, allow_nan=False) if as_json else None
    click.echo(words or forecast_words(saved, result))


def _fit_notes(saved: SavedRun, models: Mapping[str, Forecaster]) -> list[str]:
    """What was said at the fit about the models that forecast now: it holds as they do."""
    names = set(models)
    for model in models.values():
        names |= set(getattr(model, "members", ()))
    said = saved.record.get("notes") or []
    return [f"From the fit, {note}" for note in said if note.partition(": ")[0] in names]


def _last_day(saved: SavedRun, end: str | None) -> pd.Timestamp | None:
    """The day of ``--end``, which must not lie before the fit's."""
    import pandas as pd

    last = saved.record["data"]["last"]
    try:
        day = None if end is None else pd.Timestamp(end).tz_localize(None).normalize()
    except ValueError:
        return None  # said where the prices are loaded
    if day is not None and day < pd.Timestamp(last):
        raise InvalidInputError(
            f"the run was fitted up to {last}, so it cannot forecast from {end}: give an end from "
            "that day on, or fit with that end"
        )
    return day


def newer_prices(
    screen: Screen, saved: SavedRun, source: str | None, file: str | None, end: str | None = None
) -> tuple[Prices, Prices | None]:
    """The run's series from its source again, or from another, and its market."""
    settings = saved.settings
    if file is None and source in (None, "file"):
        file = settings["file"]
    options = {
        "source": source or ("file" if file else settings["source"]),
        "file": None if file is None else Path(file),
        "column": settings.get("column") if file else None,
        "start": settings["start"],
        "end": end,
    }
    data = saved.record["data"]
    # A run on a stand-in goes on with the stand-in: asked for by the symbol that was held.
    symbol = data["ticker"] if options["file"] else data["symbol"]
    prices = load(screen, symbol, options, kind=saved.kind)
    if not options["file"] and prices.symbol != symbol:
        raise DataError(
            f"only {prices.symbol} could be had, which stands in for {symbol}: the run was fitted "
            f"on {symbol} itself, try again later."
        )
    market = saved.record["market"]
    if market is None:
        return prices, None
    series = {**options, "file": None, "column": None}
    if series["source"] == "file":
        series["source"] = "auto"
    return prices, load(screen, market["symbol"], series)


def where_from(saved: SavedRun, result: Resumed) -> dict[str, Any]:
    """What a forecast rests on: the run, its fit, and the prices."""
    prices = result.prices
    return {
        "run": str(saved.folder),
        "fitted": {"created": saved.record["created"], "last": saved.record["data"]["last"]},
        "sessions_since_fit": result.sessions,
        "data": {
            "ticker": saved.record["data"]["ticker"],
            "symbol": prices.symbol,
            "source": prices.source,
            "proxy_for": saved.record["data"]["proxy_for"],
            "last": f"{prices.last:%Y-%m-%d}",
            "rows": len(prices),
        },
    }


def forecast_words(saved: SavedRun, result: Resumed) -> str:
    """The next session's distribution for people, within 80 columns."""
    import pandas as pd

    from regimeslot.prices import infer_frequency
    from regimeslot.reporting.words import PERIODS, Unit, date, probability, wrapped

    # What is not a finite number has no place in JSON and came as None.
    told: dict[str, Any] = {
        key: math.nan if value is None else value for key, value in result.description.items()
    }
    unit = Unit.of(saved.settings["transform"], told["std"])
    period = PERIODS[infer_frequency(result.prices.index)]
    plus = saved.settings["transform"] != "level"  # values have no sign worth showing
    quantiles = {key: unit.number(value, plus=plus) for key, value in told["quantiles"].items()}
    losses = unit.name == "%"  # neither side of a rate is a loss
    below = "Probability of a loss" if losses else "Probability below zero"
    rows = [
        ("Mean", f"{unit.text(told['mean'], plus=plus, extra=1)}"),
        ("Standard deviation", unit.text(told["std"])),
        ("5 % to 95 %", f"{quantiles['0.05']} to {quantiles['0.95']} {unit.name}"),
        ("1 % to 99 %", f"{quantiles['0.01']} to {quantiles['0.99']} {unit.name}"),
        (below, probability(told["probability_of_loss"])),
    ]
    if losses:
        shortfall = f"{unit.number(told['es_5'])} / {unit.text(told['es_1'])}"
        rows.append(("Expected shortfall 5 % / 1 %", shortfall))
    rows += [(f"Regime: {r['name']}", probability(r["probability"])) for r in told["regimes"]]
    width = max(len(name) for name, _ in rows)

    day = date(pd.Timestamp(told["date"]), weekday=period.step == "session")
    many = told["horizon"] > 1
    span = f"next {period.steps(told['horizon'])}, from" if many else f"next {period.step},"
    since = period.steps(result.sessions) if result.sessions else f"no newer {period.step}"
    fitted = date(pd.Timestamp(saved.record["data"]["last"]), weekday=False)
    lines = [
        f"{result.prices.ticker}: {span} {day}",
        *(f"  {name:<{width}}  {value}" for name, value in rows),
        *wrapped(f"By {told['model']}, fitted up to {fitted}, with {since} since then."),
        *wrapped(f"Prices: {describe(result.prices)}."),
    ]
    return "\n".join(lines)
