"""One map over independent tasks, in this process or in several."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from regimeslot.errors import InvalidInputError

__all__ = ["map_tasks"]

_LOOK = 1.0  # seconds

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, n_jobs: int = 1
) -> Iterator[Result]:
    """Results of ``function`` on each task, in the order of the tasks, each as soon as it is there.

    Parameters
    ----------
    function : callable of one task
        It and the tasks are sent to the processes, so they must be picklable.
    tasks : sequence
    n_jobs : int
        Processes; 1 runs here, -1 takes one per core. Each uses a single thread for its linear
        algebra, so that the processes do not fight over the cores.

    Raises
    ------
    InvalidInputError
        If ``n_jobs`` is 0 or not a whole number.

    Examples
    --------
    >>> list(map_tasks(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise InvalidInputError(f"n_jobs must be a whole number other than 0, got {n_jobs!r}")
    if n_jobs == 1 or len(tasks) < 2:
        return map(function, tasks)
    return _in_processes(function, tasks, n_jobs)


def _in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], n_jobs: int
) -> Iterator[Result]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor

    followed = _Followed(function, os.getpid())
    with parallel_config(backend="loky", inner_max_num_threads=1):
        workers = Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator")
        try:
            yield from workers(delayed(followed)(task) for task in tasks)
        except BaseException:  # Ctrl-C, or a reader that left: nobody waits for what is computed
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
            raise


@dataclass(frozen=True)
class _Followed(Generic[Task, Result]):
    """A function whose process ends when its parent was killed, which loky does not notice."""

    function: Callable[[Task], Result]
    parent: int

    def __call__(self, task: Task) -> Result:
        name = f"follow-{self.parent}"
        if os.getpid() != self.parent and all(t.name != name for t in threading.enumerate()):
            threading.Thread(target=self._follow, name=name, daemon=True).start()
        return self.function(task)

    def _follow(self) -> None:
        while os.getppid() == self.parent:
            time.sleep(_LOOK)
        os._exit(1)
