"""Options that several commands take, said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

__all__ = ["listed", "run_options", "testing_options"]

SOURCES = ("auto", "yahoo", "cache", "file", "bundled")
TRANSFORMS = ("log-return", "diff", "level")

Command = Callable[..., Any]

_TESTING = (
    click.option("--column", metavar="NAME", help="Column of a file that holds the closes."),
    click.option(
        "--source",
        type=click.Choice(SOURCES),
        default="auto",
        show_default=True,
        help="Where prices come from; auto: fresh cache, Yahoo, old cache, bundled snapshot.",
    ),
    click.option("--start", metavar="DATE", help="First day to use, as 2000-12-31."),
    click.option("--end", metavar="DATE", help="Last day to use."),
    click.option(
        "--transform",
        type=click.Choice(TRANSFORMS),
        default="log-return",
        show_default=True,
        help="What is forecast: returns of prices, changes of rates, or values as they are.",
    ),
    click.option(
        "--horizon",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="ROWS",
        help="Sessions that a forecast covers.",
    ),
    click.option(
        "--refit",
        type=click.IntRange(min=1),
        metavar="ROWS",
        help="Rows between refits.  [default: a year]",
    ),
    click.option(
        "--train-size",
        type=click.IntRange(min=1),
        metavar="ROWS",
        help="Returns before the first forecast.  [default: 2500, or half of a shorter series]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of all chance.",
    ),
)


_RUN = (
    click.argument("run", type=click.Path()),
    click.option(
        "--source",
        type=click.Choice(SOURCES),
        help="Where newer prices come from.  [default: as for the run]",
    ),
    click.option("--file", type=click.Path(), help="File of prices.  [default: that of the run]"),
)


def testing_options(command: Command) -> Command:
    """Add where prices come from, what is forecast, and how models are walked forward."""
    return _with(command, _TESTING)


def run_options(command: Command) -> Command:
    """Add the run folder, and where its newer prices come from."""
    return _with(command, _RUN)


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def listed(ctx: click.Context, param: click.Parameter, given: Iterable[str]) -> tuple[str, ...]:
    """Words from a comma list, a repeated option, or both; each once."""
    parts = tuple(given)
    words = (word.strip() for part in parts for word in part.split(","))
    found = tuple(dict.fromkeys(word for word in words if word))
    if parts and not found:
        raise click.BadParameter("it names nothing; leave it out for the default.")
    return found
