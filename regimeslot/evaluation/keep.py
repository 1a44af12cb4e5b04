"""Files that are there whole or not at all, whatever stops the process that writes them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from regimeslot.errors import RegimeslotError

__all__ = ["file_name", "whole"]


def file_name(name: str) -> str:
    """Parquet file of a series: readable, and different for different names whatever is in them.

    Examples
    --------
    >>> file_name("^GSPC")
    'GSPC-df302d10.parquet'
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.^")[:40] or "series"
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.parquet"


def whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a hidden name beside its place, and rename it over what was there.

    Raises
    ------
    RegimeslotError
        If it cannot be written; what was there stays.
    """
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        write(draft)
        os.replace(draft, path)
    except OSError as error:
        raise RegimeslotError(f"{path} could not be written: {error.strerror or error}") from error
    finally:  # a stop leaves no litter; after the renaming there is nothing to remove
        draft.unlink(missing_ok=True)
