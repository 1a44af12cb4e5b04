"""What a command says on stderr while it works: warnings once each, and the progress."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regimeslot.cli.group import in_options
from regimeslot.errors import DataWarning, RegimeWarning

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen", "interruptible", "one_thread", "show"]

T = TypeVar("T")
Step = Callable[[int, int, str], None]


def show(*renderables: Any) -> bool:
    """Print results on stdout, 80 columns wide where they go to a file or a pipe.

    Parameters
    ----------
    *renderables : str or rich renderable
        Strings are printed as they are, without wrapping.

    Returns
    -------
    bool
        False where the reader went away before the end (``| head``), which is no failure: what is
        printed later goes nowhere.
    """
    try:
        for renderable in renderables:
            if isinstance(renderable, str):
                click.echo(renderable)
            else:
                _console().print(renderable)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not be tried again when the interpreter ends.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
        return False
    return True


def _console() -> Console:
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with status 1

    return Results(highlight=False, markup=False)


def interruptible(call: Callable[[], T]) -> T:
    """Result of a call that may wait in C code, such as a download, where Ctrl-C is not heard."""
    from concurrent.futures import Future
    from threading import Thread

    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            future.set_exception(error)

    # A daemon: the process may end while it still waits, as it may by a kill.
    Thread(target=work, daemon=True).start()
    return future.result()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread: on problems of this size more of them only burn processor time.

    Measured on two cores: a whole ``fit`` takes 22 s with one thread, 92 s with two.
    """
    import scipy.linalg  # noqa: F401 - libraries loaded later would not be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


class Screen:
    """The stderr side of one command.

    Parameters
    ----------
    quiet : bool
        Say warnings and notes only.

    Attributes
    ----------
    notes : list of str
        Every warning and note so far, in order, for the outputs of the command.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.notes: list[str] = []
        self._model = ""
        self._fits: dict[tuple[str, str], list[str]] = {}
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """Rich's console on stderr, made when first used."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, markup=False)
            # A person reads whole words at the line's end, a program whole sentences in a line.
            self._console.soft_wrap = not self._console.is_terminal
        return self._console

    def tell(self, line: str) -> None:
        """Say what goes on, unless quiet."""
        if not self.quiet:
            self.console.print(line)

    def note(self, sentences: Iterable[str], label: str = "Note") -> None:
        """Say sentences that were not said before, and keep them."""
        for sentence in sentences:
            if sentence not in self.notes:
                self.notes.append(sentence)
                self.console.print(f"{label}: {in_options(sentence)}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Say regimeslot's warnings, those of fits by :meth:`note_fits`; other packages' never."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for category in (DataWarning, RegimeWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = self._show  # put back by catch_warnings
            yield

    def _show(self, message: Warning | str, *where: Any, **more: Any) -> None:
        if isinstance(message, RegimeWarning):
            # Every refit may say the same with other numbers: one sentence for all of them.
            kind = (self._model, re.sub(r"[\d.]+", "#", str(message)))
            self._fits.setdefault(kind, []).append(str(message))
        else:
            self.note([str(message)], "Warning")

    def note_fits(self) -> None:
        """Say what the fits warned about: each kind of warning once a model, with its number."""
        for (model, _), messages in self._fits.items():
            which = f"{model}: " if model else ""
            times = f" ({len(messages)} fits; the last is quoted)" if len(messages) > 1 else ""
            self.note([f"{which}{messages[-1]}{times}"], "Warning")
        self._fits.clear()

    @contextmanager
    def progress(self) -> Iterator[Step]:
        """A bar with the remaining time, gone when done; nothing where nobody watches."""

        def follow(done: int, total: int, what: str) -> None:
            self._model = what if done < total else ""

        if self.quiet or not self.console.is_terminal:
            yield follow
            return
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with Progress(
            *columns, console=self.console, transient=True, refresh_per_second=4
        ) as progress:
            task = progress.add_task("starting", total=None)

            def step(done: int, total: int, what: str) -> None:
                follow(done, total, what)
                progress.update(task, completed=done, total=total, description=what)

            yield step
