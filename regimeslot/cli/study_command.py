"""``regimeslot study``: the same models on many series, one table, and a folder that resumes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regimeslot.cli.fit_command import RUNS, load
from regimeslot.cli.options import listed, testing_options
from regimeslot.cli.screen import Screen, one_thread, show
from regimeslot.cli.series_names import series_named
from regimeslot.errors import DataError, InvalidInputError, RegimeslotError

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy, StudySettings
    from regimeslot.prices import Prices
    from regimeslot.prices.frame import Kind

__all__ = ["study"]

INDEX = "^GSPC"  # the market of the bundled stocks
_NOT_REPEATED = ("out", "json", "quiet", "jobs")  # options that change no number


@click.command(short_help="Compare the models on many series.")
@click.option(
    "--tickers",
    multiple=True,
    metavar="LIST",
    callback=listed,
    help="Yahoo symbols, separated by commas, or a file with one a line.",
)
@click.option(
    "--files",
    multiple=True,
    metavar="PATHS",
    callback=listed,
    help="CSV or parquet files of prices, separated by commas, or a folder of them.",
)
@click.option(
    "--bundled",
    is_flag=True,
    help=f"The 21 series that come with the package: {INDEX} as the market, and 20 stocks.",
)
@testing_options
@click.option("--first", metavar="DATE", help="First day to forecast, instead of --train-size.")
@click.option("--market", metavar="SYMBOL", help="A series, usually the index, as features of all.")
@click.option(
    "--cross-section/--no-cross-section",
    default=None,
    help="Features from all the other series' last moves.  [default: on where all keep the hours "
    "of New York, so that none closes after another]",
)
@click.option(
    "--models",
    multiple=True,
    metavar="NAMES",
    callback=listed,
    help="Models to run, separated by commas, or all.  [default: those of fit, egarch-t "
    "instead of slot-weight]",
)
@click.option(
    "--apart",
    multiple=True,
    metavar="NAMES",
    callback=listed,
    help="Series that are reported but left out of averages and counts.",
)
@click.option(
    "--jobs",
    type=int,
    default=-1,
    show_default=True,
    metavar="N",
    help="Processes; -1 is one per core.",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="FOLDER",
    help="Folder of the study; one that was begun is continued.  [default: runs/study-TIME]",
)
@click.option("--json", is_flag=True, help="Print study.json alone on stdout.")
@click.option("--quiet", is_flag=True, help="No progress; warnings are still said.")
@click.pass_context
def study(ctx: click.Context, **options: Any) -> None:
    """Compare the models on many series, each forecast made before its day.

    One table on the screen; a folder with study.json, tables as CSV and report.html. A study that
    was stopped continues with the same command and --out: finished series are not run again, and
    a series that fails is reported and stops no other.
    """
    names = series_named(options)
    if not names:
        raise click.UsageError("Name series: --tickers KO,PEP, --files prices/, or --bundled.", ctx)
    if options["jobs"] == 0:
        raise click.UsageError("--jobs must be a number other than 0.", ctx)
    if options["bundled"]:
        options["source"] = "bundled"
        options["market"] = options["market"] or INDEX
    stamp = f"study-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = Path(options["out"] or Path(RUNS) / stamp)
    screen = Screen(quiet=options["quiet"])
    failure = None
    with screen.listening(), one_thread():
        found = _compute(screen, options, names, folder, _command(ctx))
        try:
            _report(found, folder)
        except RegimeslotError as error:  # the results are shown first
            failure = error
    saved = f"Study folder: {folder}"
    if options["json"]:
        show((folder / "study.json").read_text(encoding="utf-8").removesuffix("\n"))
        screen.tell(saved)
    else:
        from regimeslot.reporting.study_terminal import study_answers

        if not show(*study_answers(found), "", saved):
            click.echo(saved, err=True)  # the reader of stdout left before this line
    if failure is not None:
        raise failure


def _compute(
    screen: Screen,
    options: dict[str, Any],
    names: dict[str, Path | None],
    folder: Path,
    command: str,
) -> SeriesStudy:
    """Prices and results; what can be wrong with the options is found out first."""
    from regimeslot.evaluation.study import run_study
    from regimeslot.evaluation.study_folder import SERIES, open_folder, write_results

    settings = _settings(options)
    if open_folder(folder, _begun_with(options, settings, names)):
        screen.tell(f"Continuing the study in {folder}.")
    else:
        screen.tell(f"The study is kept in {folder}; after a stop, --out {folder} continues it.")
    series, failures = _load_all(screen, options, names, folder)
    market = None
    if options["market"] is not None:
        market = series.get(options["market"]) or _load_kept(
            screen, options["market"], None, options, folder
        )
    settings = _with_cross_section(screen, options, settings, series, market)
    number = len(settings.models)
    screen.tell(f"{len(series)} series, {number} model{'s' if number > 1 else ''} to test on each.")
    began, wall = time.process_time(), time.perf_counter()
    with screen.progress() as step:
        found = run_study(
            series,
            settings,
            market=market,
            folder=folder / SERIES,
            failures=failures,
            n_jobs=options["jobs"],
            progress=step,
            notes=screen.notes,
            command=command,
        )
    screen.note((f"{name} failed: {why}" for name, why in found.panel.failures.items()), "Warning")
    for name, lost in found.panel.model_failures.items():
        screen.note((f"{name}: {model} failed: {why}" for model, why in lost.items()), "Warning")
    screen.note(found.notes)
    write_results(folder, found)
    cpu = sum(found.panel.seconds.values()) + time.process_time() - began
    screen.tell(
        f"Done in {time.perf_counter() - wall:,.0f} s; the models took {cpu:,.0f} s of processor "
        "time in all, now or before a stop."
    )
    return found


def _settings(options: Mapping[str, Any]) -> StudySettings:
    from regimeslot.evaluation.study import STUDY_MODELS, StudySettings
    from regimeslot.models.catalogue import CATALOGUE, make_forecaster

    asked = options["models"] or STUDY_MODELS
    words = (name for word in asked for name in (CATALOGUE if word == "all" else (word,)))
    models = tuple(dict.fromkeys(words))
    for name in models:
        make_forecaster(name)
    first = options["first"]
    if first is not None:
        import pandas as pd

        try:
            first = f"{pd.Timestamp(first):%Y-%m-%d}"
        except ValueError as error:
            raise InvalidInputError(f"--first must be a day, as 2011-01-03, got {first}") from error
        if options["train_size"] is not None:
            raise InvalidInputError("give --first or --train-size, not both")
    return StudySettings(
        models=models,
        horizon=options["horizon"],
        transform=options["transform"],
        first=first,
        train_size=options["train_size"],
        refit_every=options["refit"],
        cross_section=bool(options["cross_section"]),
        apart=options["apart"],
        seed=options["seed"],
    )


def _begun_with(
    options: Mapping[str, Any], settings: StudySettings, names: Mapping[str, Path | None]
) -> dict[str, Any]:
    """All that the study's numbers depend on, in the words of the options."""
    kept = ("column", "source", "start", "end", "market", "cross_section")
    return {
        "series": list(names),
        **{name: options[name] for name in kept},
        "models": list(settings.models),
        "horizon": settings.horizon,
        "transform": settings.transform,
        "first": settings.first,
        "train_size": settings.train_size,
        "refit": settings.refit_every,
        "apart": list(settings.apart),
        "seed": settings.seed,
    }


def _load_all(
    screen: Screen, options: Mapping[str, Any], names: Mapping[str, Path | None], folder: Path
) -> tuple[dict[str, Prices], dict[str, str]]:
    series, failures = {}, {}
    for name, path in names.items():
        try:
            series[name] = _load_kept(screen, name, path, options, folder)
        except DataError as error:
            failures[name] = str(error)
    if not series:
        name, why = next(iter(failures.items()))
        raise DataError(f"no series could be loaded; the first, {name}: {why}")
    return series, failures


def _load_kept(
    screen: Screen, name: str, path: Path | None, options: Mapping[str, Any], folder: Path
) -> Prices:
    """Prices as this study saw them before, else loaded and kept."""
    from regimeslot.evaluation.study_folder import keep_prices, kept_prices

    held = kept_prices(folder, name)
    if held is not None:
        screen.note(held.notes)
        return held
    asked = {**options, "file": None if path is None else str(path)}
    if path is None:
        asked["column"] = None
        if options["source"] == "file":
            asked["source"] = "auto"
    else:
        asked["source"] = "auto"
    kind: Kind = "price" if options["transform"] == "log-return" else "series"
    prices = load(screen, None if path is not None else name, asked, kind=kind)
    keep_prices(folder, name, prices)
    return prices


def _with_cross_section(
    screen: Screen,
    options: Mapping[str, Any],
    settings: StudySettings,
    series: Mapping[str, Prices],
    market: Prices | None,
) -> StudySettings:
    """Settle what was left open: whether the series may see each other's last moves."""
    if options["cross_section"] is not None:
        return settings
    from dataclasses import replace

    from regimeslot.features.cross_section import FEWEST
    from regimeslot.prices.sessions import follows_new_york

    others = [p for p in series.values() if market is None or p.symbol != market.symbol]
    if len(others) <= FEWEST:
        return settings
    together = all(follows_new_york(p.index, p.symbol) for p in others)
    if not together:
        screen.tell(
            "No features of the cross-section: not all series keep the hours of New York, and one "
            "that closes later would look ahead. Where they do close together, --cross-section."
        )
    return replace(settings, cross_section=together)


def _report(found: SeriesStudy, folder: Path) -> None:
    from regimeslot.evaluation.study_folder import REPORT
    from regimeslot.reporting.study_page import study_report

    try:
        study_report(found, folder / REPORT)
    except Exception as error:
        raise RegimeslotError(
            f"the report could not be made ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); the rest of the study folder is complete"
        ) from error


def _command(ctx: click.Context) -> str:
    """The command line that repeats the study: the options that were given, in their order."""
    words = ["regimeslot", "study"]
    for param in ctx.command.params:
        name = str(param.name)
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if not given or name in _NOT_REPEATED:
            continue
        value = ctx.params[name]
        if isinstance(value, bool):
            words.append(param.opts[0] if value else param.secondary_opts[0])
        else:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += [param.opts[0], text]
    return shlex.join(words)
