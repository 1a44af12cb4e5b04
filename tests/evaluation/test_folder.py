from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from regimeslot.errors import BadFileError, InvalidInputError, RegimeslotError
from regimeslot.evaluation.folder import (
    RECORD,
    read_run,
    record_text,
    require_place,
    write_folder,
)


def fill(folder: Path) -> None:
    (folder / RECORD).write_text("{}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "one"

    def look(draft: Path) -> None:
        assert not target.exists()
        assert draft.parent == target.parent
        assert draft.name.startswith(".")
        fill(draft)

    assert write_folder(target, look) == target
    assert names(target.parent) == ["one"]
    assert names(target) == [RECORD]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space"), ZeroDivisionError])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    def broken(draft: Path) -> None:
        fill(draft)
        raise error

    expected = RegimeslotError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        write_folder(tmp_path / "one", broken)
    assert names(tmp_path) == []


def test_taken_names_are_numbered(tmp_path: Path) -> None:
    made = [write_folder(tmp_path / "one", fill, numbered=True).name for _ in range(3)]
    assert made == ["one", "one-2", "one-3"]


def test_file_in_the_way_is_numbered_too(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("mine")
    assert write_folder(tmp_path / "one", fill, numbered=True).name == "one-2"
    assert (tmp_path / "one").read_text() == "mine"


def test_many_at_once_get_a_folder_each(tmp_path: Path) -> None:
    made: list[str] = []
    together = threading.Barrier(8)

    def run(number: int) -> None:
        together.wait()
        place = write_folder(
            tmp_path / "one", lambda draft: (draft / "who").write_text(str(number)), numbered=True
        )
        made.append(place.name)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == sorted(made)
    held = {(tmp_path / name / "who").read_text() for name in made}
    assert held == {str(number) for number in range(8)}


def test_named_folder_is_never_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", fill)
    with pytest.raises(InvalidInputError, match="another run"):
        write_folder(tmp_path / "one", fill)
    with pytest.raises(InvalidInputError, match="never overwritten"):
        require_place(tmp_path / "one")
    assert names(tmp_path) == ["one"]


def test_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    require_place(tmp_path / "one")
    assert names(write_folder(tmp_path / "one", fill)) == [RECORD]


def test_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    require_place(tmp_path / "a" / "b" / "c")
    require_place(tmp_path / "runs", new=False)
    assert names(tmp_path) == []


def test_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for new in (True, False):
        with pytest.raises(InvalidInputError, match="not a directory"):
            require_place(tmp_path / "file" / "run", new=new)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_place_without_permission(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(InvalidInputError, match="permission"):
        require_place(tmp_path / "shut" / "run")


def test_record_must_be_json() -> None:
    assert json.loads(record_text({"a": 1.5})) == {"a": 1.5}
    with pytest.raises(ValueError, match="Out of range"):
        record_text({"a": float("nan")})


def test_folder_without_record(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no fit\.json"):
        read_run(tmp_path)
    with pytest.raises(InvalidInputError, match="no folder"):
        read_run(tmp_path / "nowhere")


def test_record_of_another_version(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"format": 2}')
    with pytest.raises(BadFileError, match="format 2"):
        read_run(tmp_path)
