"""A panel: the same models on many series, in parallel, and never a finished series again."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimeslot.errors import (
    InvalidInputError,
    RegimeslotError,
    RegimeWarning,
    TooFewRowsError,
)
from regimeslot.evaluation.comparison_many import study_losses
from regimeslot.evaluation.keep import file_name, whole
from regimeslot.evaluation.panel_result import SCORES, Panel
from regimeslot.evaluation.walk_forward import Study, walk_forward
from regimeslot.models.catalogue import Setting, make_forecaster
from regimeslot.models.pool import Pool
from regimeslot.parallel import map_tasks
from regimeslot.prices import infer_frequency

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.features import Dataset
    from regimeslot.models.base import Forecaster

__all__ = ["SCORES", "Panel", "run_panel"]

Progress = Callable[[int, int, str], None]

_TRAIN_ROWS = 2500  # ten years of days
_LEAST_ROWS = 100  # of a first fit
_ROWS_A_YEAR = {"daily": 252, "weekly": 52, "monthly": 12, "quarterly": 4, "yearly": 1}


@dataclass(frozen=True)
class _Task:
    name: str
    dataset: Dataset | Callable[[], Dataset]
    models: Sequence[str] | Mapping[str, Forecaster]
    options: dict[str, Any]
    place: Path | None


def run_panel(
    series: Mapping[str, Dataset | Callable[[], Dataset]],
    models: Sequence[str] | Mapping[str, Forecaster],
    *,
    folder: str | os.PathLike[str] | None = None,
    first: Any = None,
    train_size: int | None = 2500,
    refit_every: int | None = 252,
    expanding: bool = True,
    random_state: int | None = 0,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> Panel:
    """Walk every series forward with the same models; what is finished is never done again.

    Parameters
    ----------
    series : mapping from name to Dataset, or to a function that makes one
        A function is called where the series is run, so that its failure concerns it alone.
    models : sequence of str, or mapping of str to Forecaster
        As in :func:`regimeslot.evaluation.walk_forward.walk_forward`.
    folder : path, optional
        Where each series' losses are kept, one file written whole or not at all. A panel that was
        stopped continues there; a file of other data or settings is done anew.
    first : label, optional
        First row to forecast, such as a date, so that series of different lengths are forecast over
        the same time; ``train_size`` is then not used.
    train_size, refit_every : int, optional
        As in ``walk_forward``; None is what suits each series: 2,500 returns, or half of a shorter
        one, and a year of rows.
    expanding, random_state
        As in ``walk_forward``.
    n_jobs : int
        Processes.
    progress : callable, optional
        Called with (series done, series in all, name of the last one done).

    Returns
    -------
    Panel
        A series that fails is in its ``failures``, and stops no other.

    Raises
    ------
    InvalidInputError
        No series, or a folder that cannot be made.
    RegimeslotError
        If every series failed.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import make_dataset
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal((2, 700))
    >>> data = {n: make_dataset(pd.Series(np.exp(s.cumsum()), index=dates))
    ...         for n, s in zip("AB", steps)}
    >>> panel = run_panel(data, ["mean", "linear"], train_size=500, refit_every=100)
    >>> panel.table(["linear"])["series"].to_dict()
    {('mean', 'linear'): 2}
    """
    if not series:
        raise InvalidInputError("a panel needs at least one series")
    place = None if folder is None else Path(folder)
    if place is not None:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"cannot keep results in {place}: {error.strerror}; name another folder"
            ) from error
    options = {
        "first": first,
        "train_size": train_size,
        "refit_every": refit_every,
        "expanding": expanding,
        "random_state": random_state,
    }
    tasks = [_Task(name, dataset, models, options, place) for name, dataset in series.items()]
    panel = Panel({}, {})
    for done, (name, outcome) in enumerate(map_tasks(_run_one, tasks, n_jobs=n_jobs), start=1):
        if isinstance(outcome, str):
            panel.failures[name] = outcome
        else:
            parts = _split(outcome)
            panel.losses[name] = parts[list(SCORES)]
            panel.uniforms[name] = _under(parts, "uniform")
            panel.states[name] = _under(parts, "state").astype(int)
            panel.horizons[name] = int(outcome.attrs["horizon"])
            panel.seconds[name] = float(outcome.attrs["seconds"])
            if outcome.attrs["warnings"]:
                panel.warnings[name] = list(outcome.attrs["warnings"])
            if outcome.attrs["failures"]:
                panel.model_failures[name] = outcome.attrs["failures"]
        if progress is not None:
            progress(done, len(tasks), name)
    if not panel.losses:
        first, why = next(iter(panel.failures.items()))
        raise RegimeslotError(f"every series failed; the first, {first}: {why}")
    return panel


def _run_one(task: _Task) -> tuple[str, pd.DataFrame | str]:
    """Losses of one series, read back where they are there, or why there are none."""
    try:
        dataset = task.dataset() if callable(task.dataset) else task.dataset
        key = _key(dataset, task)
        if task.place is not None:
            kept = _read(task.place / file_name(task.name), key)
            if kept is not None:
                return task.name, kept
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", RegimeWarning)
            study = walk_forward(task.models, dataset, **_walk_options(dataset, task.options))
        flat = _columns(study)
    except (RegimeslotError, ArithmeticError, ValueError) as error:
        return task.name, f"{type(error).__name__}: {error}"
    import pandas as pd

    result = pd.DataFrame(flat, index=study.y.index)
    result.attrs = {
        "key": key,
        "horizon": dataset.horizon,
        "failures": study.failures,
        "warnings": sorted({str(warning.message) for warning in said}),
        "seconds": sum(
            s for n, s in study.seconds.items() if not isinstance(study.models[n], Pool)
        ),
    }
    if task.place is not None:
        whole(task.place / file_name(task.name), result.to_parquet)
    return task.name, result


def _walk_options(dataset: Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """Options of ``walk_forward`` for one series, what was left open filled in."""
    first, rest = options["first"], {n: v for n, v in options.items() if n != "first"}
    if rest["refit_every"] is None:
        rest["refit_every"] = year_of_rows(dataset.index)
    if first is not None:
        before = int(dataset.index.searchsorted(first))
        if not 0 < before < len(dataset):
            raise TooFewRowsError(
                f"the rows with features run from {dataset.index[0]} to {dataset.index[-1]}: some "
                f"must lie before the first forecast, {first}, and some after"
            )
        rest["train_size"] = dataset.skipped + before
    elif rest["train_size"] is None:
        rest["train_size"] = usual_train_size(dataset)
    return rest


def usual_train_size(dataset: Dataset) -> int:
    """Ten years of days, or half of a shorter series, but enough for a first fit."""
    least = dataset.skipped + _LEAST_ROWS
    return min(_TRAIN_ROWS, max(least, dataset.skipped + len(dataset) // 2))


def year_of_rows(index: pd.Index) -> int:
    """Rows that make a year, by the dates; 252 where there are none."""
    import pandas as pd

    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return 252
    return _ROWS_A_YEAR.get(infer_frequency(index), 252)


def _columns(study: Study) -> dict[str, Any]:
    """What is kept of a study: losses, probability integral transforms and likeliest regimes."""
    flat: dict[str, Any] = {
        f"{score}:{model}": losses
        for score in SCORES
        for model, losses in study_losses(study, score).items()
    }
    y = study.y.to_numpy(np.float64)
    for model, forecast in study.forecasts.items():
        flat[f"uniform:{model}"] = forecast.cdf(y)
        # Experts come from calm to wild in every fit; those of a pool are of several models.
        if forecast.n_components > 1 and not isinstance(study.models[model], Pool):
            flat[f"state:{model}"] = forecast.weights.argmax(axis=1).astype(float)
    return flat


def _split(flat: pd.DataFrame) -> pd.DataFrame:
    """Columns "score:model" as pairs."""
    import pandas as pd

    pairs = [tuple(str(column).split(":", 1)) for column in flat.columns]
    columns = pd.MultiIndex.from_tuples(pairs, names=["score", "model"])
    return pd.DataFrame(flat.to_numpy(), index=flat.index, columns=columns)


def _under(parts: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Columns of one kind by model; none where there are none of it."""
    inside = parts.columns.get_level_values(0) == kind
    return parts.loc[:, inside].droplevel(0, axis=1)


def _key(dataset: Dataset, task: _Task) -> str:
    """Digest of all that the losses depend on: data, models, settings, version."""
    import pandas as pd

    import regimeslot

    digest = hashlib.sha256()
    for part in (dataset.X, dataset.y):
        digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(part).to_numpy()).tobytes())
    models = task.models
    if not isinstance(models, Mapping):
        setting = Setting(dataset.horizon, dataset.transform, task.options["random_state"])
        models = {name: make_forecaster(name, setting) for name in models}
    named = dict(models)
    said = (list(dataset.X.columns), dataset.horizon, dataset.transform, named, task.options)
    digest.update(repr((said, SCORES, regimeslot.__version__)).encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> pd.DataFrame | None:
    """Losses kept for just this key; None where there are none or the file is damaged."""
    import pandas as pd

    try:
        kept = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return kept if kept.attrs.get("key") == key else None
