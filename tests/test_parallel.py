"""One map over tasks: order, processes, errors."""

from __future__ import annotations

import os
import time

import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.parallel import map_tasks


def slow_first(task: int) -> tuple[int, int]:
    time.sleep(0.3 if task == 0 else 0.0)
    return task, os.getpid()


def fail_at_two(task: int) -> int:
    if task == 2:
        raise InvalidInputError("two")
    return task


def test_here_it_is_lazy_and_in_order() -> None:
    results = map_tasks(fail_at_two, [0, 1, 2])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InvalidInputError, match="two"):
        next(results)


def test_processes_keep_the_order_of_the_tasks() -> None:
    results = list(map_tasks(slow_first, [0, 1, 2, 3], n_jobs=2))
    assert [task for task, _ in results] == [0, 1, 2, 3]
    assert os.getpid() not in {process for _, process in results}


def test_an_error_comes_out_as_itself() -> None:
    with pytest.raises(InvalidInputError, match="two"):
        list(map_tasks(fail_at_two, [0, 1, 2], n_jobs=2))


@pytest.mark.parametrize("n_jobs", [0, 1.5, True])
def test_faults(n_jobs) -> None:
    with pytest.raises(InvalidInputError, match="n_jobs"):
        map_tasks(abs, [1], n_jobs=n_jobs)
