"""A study: the same models on many series, walked forward, and what came out of it all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from regimeslot.errors import InvalidInputError, RegimeslotError
from regimeslot.evaluation import study_tables as tables
from regimeslot.evaluation.panel import Progress, run_panel
from regimeslot.evaluation.panel_result import Panel
from regimeslot.evaluation.run import DEFAULT_MODELS, _versions
from regimeslot.features import Dataset, OtherSeries, make_dataset, other_series
from regimeslot.features.cross_section import FEWEST
from regimeslot.models.catalogue import make_forecaster

if TYPE_CHECKING:
    from regimeslot.prices import Prices

__all__ = ["STUDY_MODELS", "STUDY_REFERENCES", "SeriesStudy", "StudySettings", "run_study"]

# What a forecast of prices has to beat, the most telling first.
STUDY_REFERENCES = ("gjr-garch", "egarch-t", "egarch-skewt", "markov", "linear", "mean")
# slot-weight minimises squared error: it would take half of the time to score as the mean does.
STUDY_MODELS = (*(name for name in DEFAULT_MODELS if name != "slot-weight"), "egarch-t")

_MAIN = ("pool", "slots-sticky", "slots-markov", "slots-single", "slots-static")
_REGIMES = ("markov-t", "markov", "slots-sticky", "slots-markov", "slots-softmax")


@dataclass(frozen=True)
class StudySettings:
    """What a study does; together with the data it reproduces the study.

    Attributes
    ----------
    models : names of the catalogue
    horizon : rows that the target covers
    transform : "log-return", "diff" or "level"
    first : first day to forecast; None goes by ``train_size``
    train_size : returns before the first forecast; None takes 2,500, or half of a shorter series
    refit_every : rows between refits; None takes a year of rows
    cross_section : whether each series sees features of all the others
    apart : series that are reported, but left out of averages and counts
    seed : seed of everything random

    Examples
    --------
    >>> StudySettings(models=("linear", "gjr-garch"), first="2011-01-03", apart=("^GSPC",)).horizon
    1
    """

    models: tuple[str, ...] = STUDY_MODELS
    horizon: int = 1
    transform: str = "log-return"
    first: str | None = None
    train_size: int | None = None
    refit_every: int | None = None
    cross_section: bool = False
    apart: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SeriesStudy:
    """Everything that ``regimeslot study`` finds out, ready for the screen, the report and JSON.

    Attributes
    ----------
    panel : Panel
        Losses of every model on every series.
    settings : StudySettings
    data : dict of dict
        By series: symbol, source, first and last day, rows.
    market : str or None
        Series whose moves are features of all others.
    notes : tuple of str
        What a reader should know about the data and the fits.
    versions : dict
    created : datetime, UTC
    command : the command line that reproduces the study, or ""
    """

    panel: Panel
    settings: StudySettings
    data: dict[str, dict[str, Any]]
    market: str | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=_versions)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    command: str = ""

    @cached_property
    def counted(self) -> Panel:
        """The series that averages and counts are over: all but those set apart."""
        return self.panel.only(n for n in self.panel.losses if n not in self.settings.apart)

    @cached_property
    def main(self) -> str:
        """Model that the study is about."""
        held = self.panel.models
        return next((name for name in _MAIN if name in held), held[0])

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Models that it is compared with."""
        held = [name for name in self.panel.models if name != self.main]
        usual = tuple(name for name in STUDY_REFERENCES if name in held)
        return usual or tuple(held)

    @cached_property
    def regime_model(self) -> str | None:
        """Model whose predicted regimes tell rows apart."""
        held = {name for table in self.panel.states.values() for name in table.columns}
        return next((name for name in _REGIMES if name in held), None)

    @cached_property
    def sets(self) -> pd.DataFrame:
        """Whether each model (columns) is in the 90 % confidence set of each series (rows)."""
        return self.panel.confidence_sets(tables.MCS_LEVEL)

    @cached_property
    def headline(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.headline_table`."""
        return tables.headline_table(self.counted, self.main, self.references)

    @cached_property
    def models(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.models_table`."""
        reference = self.references[0] if self.references else None
        sets = self.sets.loc[[n for n in self.sets.index if n in self.counted.losses]]
        return tables.models_table(self.counted, reference, sets)

    @cached_property
    def series(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.series_table`."""
        table = tables.series_table(self.panel, self.main, self.references, self.sets)
        table = table.assign(apart=[name in self.settings.apart for name in table.index])
        return table.sort_values("apart", kind="stable")  # those come last, in their order

    @cached_property
    def years(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.years_table`."""
        return tables.years_table(self.counted, self.main, self.references)

    @cached_property
    def regimes(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.regimes_table`."""
        if self.regime_model is None:
            return pd.DataFrame()
        return tables.regimes_table(self.counted, self.main, self.references, self.regime_model)

    @cached_property
    def regime_value(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.regime_value_table`."""
        return tables.regime_value_table(self.counted)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.steps_table`."""
        if not self.references:
            return pd.DataFrame()
        return tables.steps_table(self.counted, self.main, self.references[0])

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """See :func:`regimeslot.evaluation.study_tables.coverage_table`."""
        return tables.coverage_table(self.panel, self.main)

    @cached_property
    def regime_words(self) -> str:
        """What part of the gain is regimes and what part is not, in words."""
        over = self.references[0] if self.references else None
        return tables.regime_words(self.regime_value, self.headline, over)

    def to_json(self) -> dict[str, Any]:
        """The contents of ``study.json``."""
        return {
            "main": self.main,
            "references": list(self.references),
            "regime_model": self.regime_model,
            "series_run": list(self.panel.losses),
            "apart": [n for n in self.settings.apart if n in self.panel.losses],
            "failures": self.panel.failures,
            "model_failures": self.panel.model_failures,
            "headline": _records(self.headline),
            "models": _records(self.models),
            "series": _records(self.series),
            "years": _records(self.years),
            "regimes": _records(self.regimes),
            "regime_value": _records(self.regime_value),
            "steps": _records(self.steps),
            "coverage": _records(self.coverage),
            "words": self.regime_words,
            "data": self.data,
            "market": self.market,
            "settings": {**asdict(self.settings), "command": self.command},
            "cpu_seconds": self.panel.seconds,
            "notes": list(self.notes),
            "versions": self.versions,
            "created": self.created.isoformat(timespec="seconds"),
        }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain data; missing numbers are None."""
    plain = table.reset_index().astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    return [{str(k): _plain(v) for k, v in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def run_study(
    series: Mapping[str, Prices],
    settings: StudySettings | None = None,
    *,
    market: Prices | None = None,
    folder: str | os.PathLike[str] | None = None,
    failures: Mapping[str, str] | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    notes: Sequence[str] = (),
    command: str = "",
) -> SeriesStudy:
    """Walk the same models forward through many series and compare them on all.

    Parameters
    ----------
    series : mapping of str to Prices
    settings : StudySettings, optional
    market : Prices, optional
        Usually the index: its past moves are features of every series but itself. It must not
        close later in the day than they do, and neither may they among each other where
        ``settings.cross_section`` is on.
    folder : path, optional
        Where finished series are kept, so that a stopped study continues.
    failures : mapping of str to str, optional
        Series that could not be loaded, and why: told with the others.
    n_jobs : int
        Processes.
    progress : callable, optional
        Called with (series done, series in all, name of the last one done).
    notes : sequence of str
        Added to those of the datasets.
    command : str
        Written into the outputs.

    Returns
    -------
    SeriesStudy

    Raises
    ------
    InvalidInputError
        If a model is unknown, a series apart is not there, or too few are left for a cross-section.
    RegimeslotError
        If every series failed.

    Examples
    --------
    >>> from regimeslot.prices import load_prices
    >>> held = {n: load_prices(n, source="bundled", start="2015-01-01") for n in ("KO", "PEP")}
    >>> study = run_study(held, StudySettings(models=("mean", "linear"), first="2022-01-03"))
    >>> int(study.headline.loc["linear", "series"])
    2
    """
    settings = settings or StudySettings()
    for name in settings.models:
        make_forecaster(name)
    unknown = [n for n in settings.apart if n not in series and n not in (failures or {})]
    if unknown:
        raise InvalidInputError(
            f"set apart are {', '.join(unknown)}, but the study has {', '.join(series)}"
        )
    datasets, said = _datasets(series, settings, market)
    panel = run_panel(
        datasets,
        settings.models,
        folder=None if folder is None else Path(folder),
        first=None if settings.first is None else pd.Timestamp(settings.first),
        train_size=settings.train_size,
        refit_every=settings.refit_every,
        random_state=settings.seed,
        n_jobs=n_jobs,
        progress=progress,
    )
    for name, why in (failures or {}).items():
        panel.failures[name] = why
    counted = [name for name in panel.losses if name not in settings.apart]
    if not counted:
        raise RegimeslotError(
            "every series that ran is set apart, so there is nothing to average: name fewer"
        )
    data = {name: _provenance(prices) for name, prices in series.items()}
    fits = _fit_notes(panel)
    return SeriesStudy(
        panel,
        settings,
        data,
        market=None if market is None else market.symbol,
        notes=tuple(dict.fromkeys([*notes, *said, *fits])),
        command=command,
    )


@dataclass(frozen=True)
class _Broken:
    """Stands for a dataset that could not be made, so that its failure is told in its turn."""

    error: RegimeslotError

    def __call__(self) -> Dataset:
        raise self.error


def _datasets(
    series: Mapping[str, Prices], settings: StudySettings, market: Prices | None
) -> tuple[dict[str, Dataset | Callable[[], Dataset]], list[str]]:
    others: dict[str, OtherSeries] = {}
    if settings.cross_section:
        for name, prices in series.items():
            if market is not None and prices.symbol == market.symbol:
                continue  # the market has features of its own
            try:
                others[name] = other_series(prices, transform=settings.transform)
            except RegimeslotError:  # told below, where its own dataset is made
                continue
        if len(others) <= FEWEST:
            raise InvalidInputError(
                f"a cross-section needs {FEWEST + 1} usable series or more besides the market, got "
                f"{len(others)}: name more, or leave it out with --no-cross-section"
            )
    datasets: dict[str, Dataset | Callable[[], Dataset]] = {}
    notes = []
    for name, prices in series.items():
        beside = [other for key, other in others.items() if key != name]
        same = market is not None and prices.symbol == market.symbol
        try:
            dataset = make_dataset(
                prices,
                horizon=settings.horizon,
                transform=settings.transform,
                market=None if same else market,
                others=beside or None,
                name=name,
            )
        except RegimeslotError as error:
            datasets[name] = _Broken(error)
            continue
        datasets[name] = dataset
        prefix = f"{prices.symbol}: "  # as the notes on prices begin
        notes += [note if note.startswith(prefix) else f"{name}: {note}" for note in dataset.notes]
    return datasets, notes


def _provenance(prices: Prices) -> dict[str, Any]:
    return {
        "symbol": prices.symbol,
        "source": prices.source,
        "first": f"{prices.index[0]:%Y-%m-%d}",
        "last": f"{prices.last:%Y-%m-%d}",
        "rows": len(prices),
        "proxy_for": prices.proxy_for,
    }


def _fit_notes(panel: Panel) -> list[str]:
    """What fits warned about: which series, and one sentence quoted."""
    if not panel.warnings:
        return []
    names = list(panel.warnings)
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    quoted = panel.warnings[names[0]][0]
    total = sum(len(held) for held in panel.warnings.values())
    fits = "1 fit is" if total == 1 else f"{total} fits are"
    return [f"{fits} to be read with care (on {shown}); one warning: {quoted}"]
