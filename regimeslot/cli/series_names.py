"""Which series a command is for: lists of tickers, files, folders and what is bundled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regimeslot.errors import InvalidInputError

__all__ = ["series_named"]

_SUFFIXES = (".csv", ".parquet", ".txt")


def series_named(options: Mapping[str, Any]) -> dict[str, Path | None]:
    """Every series asked for by name, with its file or None for a ticker."""
    names: dict[str, Path | None] = {}
    if options["bundled"]:
        from regimeslot.prices.bundled import bundled_symbols

        names |= dict.fromkeys(bundled_symbols())
    for word in options["tickers"]:
        names |= dict.fromkeys(_from_list(Path(word)) if Path(word).is_file() else [word])
    paths = [path for word in options["files"] for path in _from_folder(Path(word))]
    stems = [path.stem for path in paths]
    for path in paths:  # two files of one name are told apart by their folders
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        if names.setdefault(name, path) != path:
            raise InvalidInputError(f"{name} is named twice, as a ticker and as {path}")
    return names


def _from_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the list of tickers {path} cannot be read: {error}") from error
    words = [word for line in lines for word in line.split("#")[0].replace(",", " ").split()]
    if not words:
        raise InvalidInputError(f"{path} lists no tickers: expected one a line")
    return words


def _from_folder(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    held = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not held:
        raise InvalidInputError(f"{path} holds no price files ({', '.join(_SUFFIXES)})")
    return held
