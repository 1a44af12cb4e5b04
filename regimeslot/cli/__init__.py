"""The ``regimeslot`` command: one file per command, parsed here, computed in the library.

Results go to stdout, progress and warnings to stderr. Until a command runs only click is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    args : sequence of str, optional
        Words after ``regimeslot``; default those that the process was started with.
    """
    try:
        from regimeslot.cli.program import program
    except KeyboardInterrupt:  # Ctrl-C while Python is still loading
        print("Stopped by Ctrl-C.", file=sys.stderr)  # noqa: T201 - click is not there yet
        sys.exit(130)
    program(args, prog_name="regimeslot")
