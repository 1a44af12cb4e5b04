"""The folder of a study: settings, prices and finished series, kept so that a stop costs little.

Every file is written under a hidden name and renamed, so that it is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import regimeslot
from regimeslot.errors import BadFileError, InvalidInputError
from regimeslot.evaluation.keep import file_name, whole
from regimeslot.prices import Prices

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy

__all__ = ["RECORD", "REPORT", "SERIES", "keep_prices", "kept_prices", "open_folder"]
__all__ += ["write_results"]

SETTINGS = "settings.json"
PRICES = "prices"
SERIES = "series"
RECORD = "study.json"
REPORT = "report.html"

_FORMAT = 1
_MARK = "regimeslot study"  # tells a study's folder from any other


def open_folder(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Make the folder of a study, or find that it was begun with the same settings.

    Parameters
    ----------
    folder : Path
    settings : mapping
        All that the numbers depend on besides the prices, as plain JSON.

    Returns
    -------
    bool
        Whether it was begun before.

    Raises
    ------
    InvalidInputError
        If it was begun with other settings, holds something else, or cannot be written.
    BadFileError
        If its settings cannot be read.
    """
    asked = json.loads(json.dumps(dict(settings)))
    asked |= {"format": _FORMAT, "version": regimeslot.__version__}
    place = folder / SETTINGS
    try:
        held = _read(place)
        if held is None:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise InvalidInputError(
                    f"{folder} exists already and is no folder of a study: name a new one"
                )
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"kind": _MARK, **asked}, indent=2, ensure_ascii=False) + "\n"
            whole(place, lambda draft: draft.write_text(text, encoding="utf-8"))
            return False
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(
            f"cannot keep a study in {folder}: {reason}; name another folder"
        ) from error
    if not isinstance(held, dict) or held.pop("kind", None) != _MARK:
        raise InvalidInputError(f"{place} is not of a study: name another folder")
    for name in dict.fromkeys([*asked, *held]):
        if held.get(name) != asked.get(name):
            raise InvalidInputError(
                f"the study in {folder} was begun with {name} {_said(held.get(name))}, not "
                f"{_said(asked.get(name))}: give the same settings to continue it, or name a new "
                "folder"
            )
    return True


def _read(place: Path) -> Any:
    if not place.is_file():
        return None
    text = place.read_bytes()
    try:
        return json.loads(text)
    except ValueError as error:  # json's and unicode's errors are ValueErrors
        raise BadFileError(
            f"{place} is damaged ({error}): begin the study in a new folder"
        ) from error


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(part) for part in value) or "none"
    return "unset" if value is None else str(value)


def keep_prices(folder: Path, name: str, prices: Prices) -> None:
    """Keep the prices of a series, so that a study that continues sees the same."""
    frame = prices.frame.copy()
    frame.attrs = {
        "name": name,
        "ticker": prices.ticker,
        "symbol": prices.symbol,
        "source": prices.source,
        "as_of": prices.as_of.isoformat(),
        "notes": list(prices.notes),
        "proxy_for": prices.proxy_for,
        "kind": prices.kind,
    }
    place = folder / PRICES
    place.mkdir(exist_ok=True)
    whole(place / file_name(name), frame.to_parquet)


def kept_prices(folder: Path, name: str) -> Prices | None:
    """Prices kept by :func:`keep_prices`; None where there are none, or the file is damaged."""
    try:
        frame = pd.read_parquet(folder / PRICES / file_name(name))
        held = {str(key): value for key, value in frame.attrs.items()}
        if held.pop("name") != name:
            return None
        as_of = datetime.fromisoformat(held.pop("as_of"))
        notes = tuple(held.pop("notes"))
        frame.attrs = {}
        return Prices(frame=frame, as_of=as_of, notes=notes, **held)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_results(folder: Path, study: SeriesStudy) -> None:
    """Write ``study.json`` and every table as CSV.

    ``gains.csv`` holds each model against each reference on each series, ``scores.csv`` the mean
    losses of every model, the others what their names say.
    """
    tables = {
        "scores": _mean_losses(study),
        "gains": _all_gains(study),
        "headline": study.headline,
        "models": study.models,
        "by-series": study.series,
        "by-year": study.years,
        "by-regime": study.regimes,
        "regime-value": study.regime_value,
        "steps": study.steps,
        "coverage": study.coverage,
        "confidence-sets": study.sets,
    }
    for name, table in tables.items():
        if len(table):
            whole(folder / f"{name}.csv", table.to_csv)
    text = json.dumps(study.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    whole(folder / RECORD, lambda draft: draft.write_text(text, encoding="utf-8"))


def _mean_losses(study: SeriesStudy) -> pd.DataFrame:
    means = {name: losses.mean() for name, losses in study.panel.losses.items()}
    table = pd.concat(means, axis=0).rename("loss").rename_axis(["series", "score", "model"])
    return table.unstack("score").rename_axis(columns=None)


def _all_gains(study: SeriesStudy) -> pd.DataFrame:
    parts = []
    for against in study.references:
        for score in ("log_score", "crps", "qlike"):
            gains = study.panel.gains(against, score)
            parts.append(gains.assign(against=against, score=score))
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    return table.set_index(["score", "against", "model", "series"])
