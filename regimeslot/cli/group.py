"""What all commands share: every way to end has its exit status and at most one sentence."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from regimeslot.errors import RegimeslotError

__all__ = ["Commands", "in_options"]

DEBUG = "REGIMESLOT_DEBUG"
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# The library's messages name arguments; at the command line those are options.
_OPTIONS = (
    (re.compile(r"kind=['\"]series['\"]"), "--transform diff (or level)"),
    (re.compile(r"\b(source|transform)=['\"]([a-z-]+)['\"]"), r"--\1 \2"),
    (re.compile(r"\brounded_to=([\d.e+-]+)"), r"--rounded-to \1"),
    (re.compile(r"\b(source|file|column|start|end|market)= ?"), r"--\1 "),
    (re.compile(r"(--[a-z]+) (?=[;,.)]|$)"), r"\1"),
)


class Commands(click.Group):
    """A group whose commands fail in one sentence: no traceback, a documented exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit; with ``standalone_mode=False`` errors are raised."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        sys.exit(_status(run))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away (``| head``) is no failure."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # What is still buffered must not be tried again when the interpreter ends.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
            return None


def _status(run: Callable[[], Any]) -> int:
    try:
        result = run()
        return result if isinstance(result, int) else 0  # --help and --version give 0
    except click.Abort:
        return _fail("Stopped by Ctrl-C; nothing half-done was kept.", _INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RegimeslotError as error:
        return _fail(f"Error: {in_options(str(error))}", error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line: a sentence, not a traceback
        name = type(error).__name__
        said = f"{name}: {error}" if str(error) else name
        return _fail(
            f"Error: something unforeseen went wrong ({' '.join(said.split())}); set "
            f"{DEBUG}=1 to see where, and please report it.",
            1,
        )


def in_options(message: str) -> str:
    """A message of the library with its arguments named as options of the command.

    Examples
    --------
    >>> in_options("download it with source='yahoo', or pass file=.")
    'download it with --source yahoo, or pass --file.'
    """
    for pattern, option in _OPTIONS:
        message = pattern.sub(option, message)
    return message


def _fail(sentence: str, status: int) -> int:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exc()
    click.echo(sentence, err=True)
    return status
