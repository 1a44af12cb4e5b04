"""A panel: the same models on many series, resumable, in parallel, and one table of it all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimeslot.errors import InvalidInputError, RegimeslotError
from regimeslot.evaluation.comparison import score_difference
from regimeslot.evaluation.comparison_checks import as_share
from regimeslot.evaluation.comparison_many import model_confidence_set, study_losses
from regimeslot.evaluation.walk_forward import REFERENCES, walk_forward
from regimeslot.parallel import map_tasks

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.features import Dataset
    from regimeslot.models.base import Forecaster

__all__ = ["SCORES", "Panel", "run_panel"]

SCORES = ("log_score", "crps", "qlike")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Panel:
    """Losses of several models on many series.

    Attributes
    ----------
    losses : dict of DataFrame
        By series: rows forecast, columns (score, model), smaller is better.
    horizons : dict of int
        By series: rows that a target covers.
    failures : dict of str
        Series that could not be run, and why.
    model_failures : dict of dict
        By series: models that could not be run on it, and why.
    """

    losses: dict[str, pd.DataFrame]
    horizons: dict[str, int]
    failures: dict[str, str] = field(default_factory=dict)
    model_failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def gains(self, against: str, score: str = "log_score") -> pd.DataFrame:
        """Gain of each model over one reference, on each series where both were run.

        Parameters
        ----------
        against : str
            The reference model.
        score : str
            "log_score" (nats a row), "crps" (unit of the series) or "qlike".

        Returns
        -------
        DataFrame
            Columns series, model, gain (positive is better), t, p, n. Each p is of one comparison.
        """
        import pandas as pd

        if score not in SCORES:
            raise InvalidInputError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        records = []
        for series, losses in self.losses.items():
            table = losses[score]
            if against not in table:
                continue
            for model in table.columns.drop(against):
                d = score_difference(
                    -table[model].to_numpy(),
                    -table[against].to_numpy(),
                    horizon=self.horizons[series],
                )
                records.append((series, model, d.gain, d.t, d.p, len(table)))
        return pd.DataFrame(records, columns=["series", "model", "gain", "t", "p", "n"])

    def confidence_sets(
        self, level: float = 0.9, score: str = "log_score", draws: int = 1000
    ) -> pd.DataFrame:
        """Whether each model (columns) is in the confidence set of each series (rows)."""
        import pandas as pd

        rows = {}
        for series, losses in self.losses.items():
            table = pd.DataFrame(losses[score])
            if table.shape[1] > 1:
                rows[series] = model_confidence_set(table, level=level, draws=draws)["included"]
        return pd.DataFrame(rows).T.rename_axis(index="series", columns="model")

    def table(
        self,
        against: Sequence[str] | None = None,
        *,
        score: str = "log_score",
        size: float = 0.05,
    ) -> pd.DataFrame:
        """One row per model and reference, over all series.

        Parameters
        ----------
        against : sequence of str, optional
            References; default those of a study that were run.
        score : str
            As in :meth:`gains`.
        size : float
            p below which a series counts as significant. Each is of one comparison: of equally good
            models, half of this share of the series comes out as better by chance.

        Returns
        -------
        DataFrame
            Indexed by model and against: ``series``, ``mean_gain`` (all series weigh the same),
            ``won``, ``significant`` and ``significantly_worse`` (numbers of series).
        """
        import pandas as pd

        level = as_share(size, "size")
        held = {model for losses in self.losses.values() for model in losses[score].columns}
        wanted = [name for name in (against or REFERENCES) if name in held]
        records = []
        for reference in wanted:
            gains = self.gains(reference, score)
            for model, rows in gains.groupby("model", sort=False):
                told = rows["p"] < level
                records.append(
                    {
                        "model": model,
                        "against": reference,
                        "series": len(rows),
                        "mean_gain": rows["gain"].mean(),
                        "won": int((rows["gain"] > 0).sum()),
                        "significant": int((told & (rows["gain"] > 0)).sum()),
                        "significantly_worse": int((told & (rows["gain"] < 0)).sum()),
                    }
                )
        columns = ["series", "mean_gain", "won", "significant", "significantly_worse"]
        result = pd.DataFrame(records, columns=["model", "against", *columns])
        return result.set_index(["model", "against"])


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
    train_size: int = 2500,
    refit_every: int = 252,
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
    train_size, refit_every, expanding, random_state
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
            panel.losses[name] = _split(outcome)
            panel.horizons[name] = int(outcome.attrs["horizon"])
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
            kept = _read(task.place / _file_name(task.name), key)
            if kept is not None:
                return task.name, kept
        study = walk_forward(task.models, dataset, **task.options)
        flat = {
            f"{score}:{model}": losses
            for score in SCORES
            for model, losses in study_losses(study, score).items()
        }
    except (RegimeslotError, ArithmeticError, ValueError) as error:
        return task.name, f"{type(error).__name__}: {error}"
    import pandas as pd

    result = pd.DataFrame(flat, index=study.y.index)
    result.attrs = {"key": key, "horizon": dataset.horizon, "failures": study.failures}
    if task.place is not None:
        _write(task.place / _file_name(task.name), result)
    return task.name, result


def _split(flat: pd.DataFrame) -> pd.DataFrame:
    """Columns "score:model" as pairs."""
    import pandas as pd

    pairs = [tuple(str(column).split(":", 1)) for column in flat.columns]
    columns = pd.MultiIndex.from_tuples(pairs, names=["score", "model"])
    return pd.DataFrame(flat.to_numpy(), index=flat.index, columns=columns)


def _key(dataset: Dataset, task: _Task) -> str:
    """Digest of all that the losses depend on: data, models, settings, version."""
    import pandas as pd

    import regimeslot

    digest = hashlib.sha256()
    for part in (dataset.X, dataset.y):
        digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(part).to_numpy()).tobytes())
    models = task.models
    named = dict(models.items()) if isinstance(models, Mapping) else list(models)
    said = (list(dataset.X.columns), dataset.horizon, dataset.transform, named, task.options)
    digest.update(repr((said, SCORES, regimeslot.__version__)).encode())
    return digest.hexdigest()


def _file_name(name: str) -> str:
    """Readable, and different for different names whatever is in them."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "series"
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.parquet"


def _read(path: Path, key: str) -> pd.DataFrame | None:
    """Losses kept for just this key; None where there are none or the file is damaged."""
    import pandas as pd

    try:
        kept = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return kept if kept.attrs.get("key") == key else None


def _write(path: Path, losses: pd.DataFrame) -> None:
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        losses.to_parquet(draft)
        os.replace(draft, path)
    except OSError as error:
        raise RegimeslotError(f"the result {path} could not be written: {error}") from error
    finally:  # a stop leaves no litter; after the renaming there is nothing to remove
        draft.unlink(missing_ok=True)
