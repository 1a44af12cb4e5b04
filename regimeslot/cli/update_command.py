"""``regimeslot update``: record a forecast for every new bar of a run folder, and score them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from regimeslot.cli.forecast_command import forecast_words, newer_prices, where_from
from regimeslot.cli.options import run_options
from regimeslot.cli.screen import Screen, Step, one_thread, show

if TYPE_CHECKING:
    from regimeslot.evaluation.folder import SavedRun
    from regimeslot.evaluation.update import Updated

__all__ = ["update"]

_PATIENCE = 2.0  # seconds without a progress bar


@click.command(short_help="Record a forecast for each new bar of a run, and score them.")
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def update(run: str, source: str | None, file: str | None, as_json: bool) -> None:
    """Record a forecast for every new bar of the run folder RUN, and score those come true.

    Fetches the bars since the fit, moves every model of the run past them without fitting
    anything again, and appends to RUN/record.jsonl what they forecast after each bar, with the
    time it was made. What was recorded is never rewritten. A forecast whose session was over when
    it was made, as when catching up, is marked and scored apart. Missing, late, repeated and
    restated bars are said.

    To run it after every New York close, from cron on a machine that keeps UTC:

    \b
        30 21 * * 1-5  cd /home/me && regimeslot update runs/SPY-... >> spy.log 2>&1

    It may be stopped at any moment and started twice: the second one waits for the first. With
    nothing new it says so and exits with 0.
    """  # noqa: D301 - click looks for the backspace character itself
    from regimeslot.evaluation.folder import read_run
    from regimeslot.evaluation.record import hold
    from regimeslot.evaluation.update import update as bring_up_to_date
    from regimeslot.persistence import load as load_model

    saved = read_run(run)
    screen = Screen(quiet=as_json)

    def waiting() -> None:
        screen.note([f"Another update of {run} is under way: this one waits for it."])

    with screen.listening(), one_thread(), hold(saved.folder, waiting=waiting):
        prices, market = newer_prices(screen, saved, source, file)
        with _patient(screen) as step:
            models = {name: load_model(saved.model_file(name)) for name in saved.every_model}
            result = bring_up_to_date(saved, models, prices, market, progress=step)
    screen.note_fits()
    screen.note(result.notes)
    if as_json:
        show(json.dumps(_record(saved, result, screen.notes), indent=2, allow_nan=False))
    else:
        show(*_words(saved, result))


@contextmanager
def _patient(screen: Screen) -> Iterator[Step]:
    """Progress that shows only where the work takes more than two seconds."""
    began = time.monotonic()
    steps: list[Step] = []
    with ExitStack() as stack:

        def step(done: int, total: int, what: str) -> None:
            if not steps and time.monotonic() - began > _PATIENCE:
                steps.append(stack.enter_context(screen.progress()))
            for each in steps:
                each(done, total, what)

        yield step


def _record(saved: SavedRun, result: Updated, notes: list[str]) -> dict[str, Any]:
    from regimeslot.evaluation.record_scores import record_reference

    scores = result.scores.reset_index().astype(object)
    return {
        **where_from(saved, result.resumed),
        "record": str(result.record.path),
        "new": [
            {
                "bar": f"{day:%Y-%m-%d}",
                "return": float(result.resumed.news.history.moves[day]),
                "remark": result.resumed.news.remarks.get(day),
            }
            for day in result.resumed.news.new
        ],
        "restated": {
            f"{day:%Y-%m-%d}": {"was": was, "now": now}
            for day, (was, now) in result.resumed.news.corrected.items()
        },
        "recorded": {"new": result.added, "bars": len(result.record)},
        "forecast": result.resumed.description,
        "reference": record_reference(result.record),
        "scores": scores.where(scores.notna(), None).to_dict("records"),
        "notes": notes,
    }


def _words(saved: SavedRun, result: Updated) -> list[Any]:
    """What is new, the next session, and how the recorded forecasts have done."""
    from regimeslot.evaluation.record_scores import record_reference
    from regimeslot.prices import infer_frequency
    from regimeslot.reporting.words import PERIODS, wrapped

    period = PERIODS[infer_frequency(result.resumed.prices.index)]
    lines = [
        *wrapped(_new(result, period)),
        "",
        forecast_words(saved, result.resumed),
        "",
        *wrapped(_recorded(result, period)),
    ]
    tables: list[Any] = [_table(saved, result, made) for made in result.scores.index.unique("made")]
    if tables:
        reference = record_reference(result.record)
        gain = (
            "" if reference is None else f"Gain: nats over {reference}, summed; |t| below 2 is no "
        )
        gain += "difference. " if gain else ""
        legend = f"{gain}PIT p: chance of such transforms if the densities are right."
        tables.append("\n".join(wrapped(legend)))
    return [*lines, *(part for table in tables for part in ("", table))]


def _new(result: Updated, period: Any) -> str:
    from regimeslot.reporting.words import date

    history, news = result.resumed.news.history, result.resumed.news
    weekday = period.step == "session"
    if news.new:
        days = [date(day, weekday=weekday) for day in news.new]
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        return f"New: {period.steps(len(days))}, {span}."
    import pandas as pd

    last = date(history.last, weekday=weekday)
    target = date(pd.Timestamp(result.resumed.description["date"]), weekday=weekday)
    if result.next_is_over:
        return f"Nothing new: the source has no bar for {target} yet; the last is {last}."
    return f"Nothing new: no {period.step} has ended since {last}; the next is {target}."


def _recorded(result: Updated, period: Any) -> str:
    made = result.table.drop_duplicates("after")
    come = made[made["y"].notna()]
    late = int(come["after_the_fact"].sum())
    place = result.record.path
    if come.empty:
        many = period.steps(len(made))
        return f"Recorded in {place}: forecasts for {many}; none has come true yet."
    return (
        f"Recorded in {place}: forecasts for {period.steps(len(made))}; {len(come):,} came true, "
        f"{len(come) - late:,} of them made in time and {late:,} after the fact (the {period.step} "
        "was over when the forecast was made, from what was known before it)."
    )


def _table(saved: SavedRun, result: Updated, made: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    from regimeslot.reporting.words import Unit, share, signed

    rows = result.scores.xs(made, level="made")
    unit = Unit.of(saved.settings["transform"], float(rows["crps"].median()))
    tail = "VaR" if unit.name == "%" else "<"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.title = Text(f"Made {made}: {int(rows['n'].max()):,} come true")
    table.title_justify = "left"
    heads = ["model", "log score", "gain", "t", f"CRPS {unit.name}", "PIT p"]
    for number, head in enumerate([*heads, f"{tail}1 %", f"{tail}5 %"]):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for name, row in rows.iterrows():
        t = "-" if row["t"] != row["t"] else f"{row['t']:.1f}"
        table.add_row(
            str(name),
            f"{row['log_score']:.4f}",
            "-" if row["gain"] != row["gain"] else signed(row["gain"], 2),
            t,
            unit.number(row["crps"], extra=2),
            "-" if row["pit_p"] != row["pit_p"] else f"{row['pit_p']:.2f}",
            share(row["var_1_hit"], 1),
            share(row["var_5_hit"], 1),
        )
    return table
