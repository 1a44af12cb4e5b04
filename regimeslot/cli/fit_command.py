"""``regimeslot fit``: from a ticker to the next session's distribution, and a run folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regimeslot.cli.options import listed, testing_options
from regimeslot.cli.screen import Screen, interruptible, one_thread, show
from regimeslot.errors import RegimeslotError

if TYPE_CHECKING:
    from regimeslot.evaluation.run import Run
    from regimeslot.prices import Prices
    from regimeslot.prices.frame import Kind

__all__ = ["RUNS", "describe", "fit", "load"]

RUNS = "runs"
_NOT_REPEATED = ("out", "json", "quiet")  # options that change no number


@click.command()
@click.option("--ticker", metavar="SYMBOL", help="Yahoo symbol, such as SPY, ^GSPC or BTC-USD.")
@click.option("--file", type=click.Path(), help="CSV or parquet file of prices instead.")
@testing_options
@click.option(
    "--rounded-to",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="STEP",
    help="Step to which a rate or an index was published, as 0.1, to score what rounds to it.",
)
@click.option("--market", metavar="SYMBOL", help="A second series, usually the index, as features.")
@click.option(
    "--models",
    multiple=True,
    metavar="NAMES",
    callback=listed,
    help="Models to run, separated by commas, or all of the catalogue.  "
    "[default: all but egarch-t and the networks slot-lstm and lstm, which take minutes]",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="FOLDER",
    help="Run folder to make.  [default: runs/TICKER-LAST DAY-TIME]",
)
@click.option("--json", is_flag=True, help="Print fit.json alone on stdout.")
@click.option("--quiet", is_flag=True, help="No progress; warnings are still said.")
@click.pass_context
def fit(ctx: click.Context, **options: Any) -> None:
    """Forecast the next session, and show whether to believe it.

    Walks the models forward through the series, each forecast made before its day, scores them
    against each other, fits them on everything, and forecasts the next session. Writes a run
    folder with report.html, fit.json, the forecasts, the models and the prices.
    """
    if options["ticker"] is None and options["file"] is None:
        raise click.UsageError("Name a series: --ticker SPY, or --file prices.csv.", ctx)
    out = None if options["out"] is None else Path(options["out"])
    screen = Screen(quiet=options["quiet"])
    place, failure = None, None
    with screen.listening(), one_thread():
        run, record, market = _compute(screen, options, out, _command(ctx))
        try:
            place, failure = _write(run, record, market, out)
        except RegimeslotError as error:  # the results are shown first: they took a minute
            failure = error
    saved = None if place is None else f"Run folder: {place}"
    if options["json"]:
        show(_json(record))
        if saved is not None:
            screen.tell(saved)
    elif not show(*_answers(run), *(() if saved is None else ("", saved))) and saved is not None:
        click.echo(saved, err=True)  # the reader of stdout left before this line
    if failure is not None:
        raise failure


def _compute(
    screen: Screen, options: dict[str, Any], out: Path | None, command: str
) -> tuple[Run, dict[str, Any], Prices | None]:
    """Prices, run and record; whatever can be wrong with the options is found out first."""
    from regimeslot.evaluation.folder import require_place, run_record
    from regimeslot.evaluation.run import DEFAULT_MODELS, RunSettings, fit_run
    from regimeslot.models.catalogue import CATALOGUE, make_forecaster

    asked = options["models"] or DEFAULT_MODELS
    names = (name for word in asked for name in (CATALOGUE if word == "all" else (word,)))
    settings = RunSettings(
        models=tuple(dict.fromkeys(names)),
        horizon=options["horizon"],
        transform=options["transform"],
        train_size=options["train_size"],
        refit_every=options["refit"],
        seed=options["seed"],
        rounded_to=options["rounded_to"],
    )
    for name in settings.models:
        make_forecaster(name)
    require_place(out or Path(RUNS), new=out is not None)
    kind: Kind = "price" if settings.transform == "log-return" else "series"
    prices = load(screen, options["ticker"], options, kind=kind)
    market = None
    if options["market"] is not None:
        series = {**options, "file": None, "column": None}
        if options["source"] == "file":
            series["source"] = "auto"
        market = load(screen, options["market"], series)
    number = len(settings.models)
    screen.tell(f"{describe(prices)}; {number} model{'s' if number > 1 else ''} to test.")
    with screen.progress() as step:
        run = fit_run(prices, settings, market=market, progress=step, command=command)
    screen.note_fits()
    screen.note(run.dataset.notes)
    screen.note((f"{name} failed: {why}" for name, why in run.study.failures.items()), "Warning")
    request = {name: options[name] for name in ("source", "file", "column", "start", "end")}
    if options["file"] is not None:
        request["file"] = str(Path(options["file"]).expanduser().absolute())
    record = run_record(run, request=request, market=market, notes=tuple(screen.notes))
    return _with_notes(run, tuple(screen.notes)), record, market


def load(
    screen: Screen, ticker: str | None, options: Mapping[str, Any], *, kind: Kind = "price"
) -> Prices:
    """Prices as the options ask for them; what is odd about them is said."""
    from regimeslot.prices import load_prices

    prices = interruptible(
        lambda: load_prices(
            ticker,
            source=options["source"],
            file=options.get("file"),
            column=options.get("column"),
            start=options.get("start"),
            end=options.get("end"),
            kind=kind,
        )
    )
    screen.note(prices.notes)
    return prices


def describe(prices: Prices) -> str:
    """One line: what series, from where, how long."""
    name = prices.ticker
    if prices.symbol != name:
        name = f"{name} (by {prices.symbol})"
    source = {"bundled": "the bundled snapshot", "file": "the file", "yahoo": "Yahoo"}
    return (
        f"{name}: {len(prices):,} rows, {prices.index[0]:%Y-%m-%d} to {prices.last:%Y-%m-%d}, "
        f"from {source.get(prices.source, 'the cache')}"
    )


def _with_notes(run: Run, notes: tuple[str, ...]) -> Run:
    """The run with everything that was said about it, for the report to show."""
    dataset = replace(run.dataset, notes=notes)
    return replace(run, dataset=dataset, study=replace(run.study, dataset=dataset))


def _write(
    run: Run, record: dict[str, Any], market: Prices | None, out: Path | None
) -> tuple[Path, RegimeslotError | None]:
    """Place of the run folder, and why its report is missing if it is."""
    from regimeslot.evaluation import folder
    from regimeslot.persistence import save
    from regimeslot.reporting import report

    failures: list[RegimeslotError] = []

    def fill(draft: Path) -> None:
        folder.write_tables(draft, run, record, market)
        (draft / folder.MODELS).mkdir()
        for name, model in run.models.items():
            save(model, draft / folder.MODELS / f"{name}.safetensors")
        try:
            report(run, draft / folder.REPORT)
        except Exception as error:  # noqa: BLE001 - a picture must not cost the numbers
            failure = RegimeslotError(
                f"the report could not be made ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); the rest of the run folder is complete"
            )
            failure.__cause__ = error
            failures.append(failure)

    target = out or Path(RUNS) / folder.folder_name(run)
    place = folder.write_folder(target, fill, numbered=out is None)
    return place, failures[0] if failures else None


def _json(record: dict[str, Any]) -> str:
    from regimeslot.evaluation.folder import record_text

    return record_text(record).removesuffix("\n")


def _answers(run: Run) -> tuple[Any, ...]:
    from regimeslot.reporting import terminal_scores, terminal_summary

    return terminal_summary(run), "", terminal_scores(run)


def _command(ctx: click.Context) -> str:
    """The command line that repeats the run: the options that were given, in their order."""
    words = ["regimeslot", "fit"]
    for param in ctx.command.params:
        name = str(param.name)
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in _NOT_REPEATED:
            value = ctx.params[name]
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += [param.opts[0], text]
    return shlex.join(words)
