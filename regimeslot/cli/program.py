"""The group of all commands."""

from __future__ import annotations

import click

import regimeslot
from regimeslot.cli.data_command import data
from regimeslot.cli.fit_command import fit
from regimeslot.cli.forecast_command import forecast
from regimeslot.cli.group import Commands
from regimeslot.cli.study_command import study
from regimeslot.cli.update_command import update
from regimeslot.cli.validate_command import validate

__all__ = ["program"]

_COMMANDS = (fit, forecast, study, update, validate, data)


@click.group(
    cls=Commands,
    commands={str(command.name): command for command in _COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(regimeslot.__version__, prog_name="regimeslot")
def program() -> None:
    """Regime-switching forecasts of a price series, with honest evidence.

    \b
    regimeslot fit --ticker SPY      test the models, forecast the next session
    regimeslot forecast runs/SPY-... the same models on today's prices, no refit
    regimeslot update runs/SPY-...   record a forecast for each new bar, score them
    regimeslot study --tickers A,B   the same models on many series, one table
    regimeslot validate              the proof on series whose truth is known

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 no usable data, 130 stopped by
    Ctrl-C.
    """  # noqa: D301 - click looks for the backspace character itself
