"""``regimeslot data``: what is known of a series without asking anybody."""

from __future__ import annotations

import click

from regimeslot.cli.fit_command import describe, load
from regimeslot.cli.screen import Screen
from regimeslot.errors import DataError

__all__ = ["data"]


@click.command(short_help="Say what the cache and the bundled snapshot hold.")
@click.argument("ticker")
def data(ticker: str) -> None:
    """Say what the cache and the bundled snapshot hold of TICKER, and what the checks found.

    Nothing is downloaded.
    """
    screen = Screen()
    found = []
    with screen.listening():
        for source in ("cache", "bundled"):
            try:
                found.append(describe(load(screen, ticker, {"source": source})))
            except DataError as error:
                screen.note([str(error)])
    if not found:
        raise DataError(
            f"nothing is held of {ticker}: regimeslot fit --ticker {ticker} downloads it"
        )
    for line in found:
        click.echo(line)
