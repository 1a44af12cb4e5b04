"""Whether regimes survive a refit: the same rows, labelled by the next parameters."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.recovery import accuracy, adjusted_rand_index, match_labels

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.walk_forward import Study
    from regimeslot.forecast import MixtureForecast
    from regimeslot.models.base import Forecaster

__all__ = ["RegimeStability", "regime_stability"]

Labels = NDArray[np.intp]

# Steinley (2004): what an adjusted Rand index of at least so much is called.
_WORDS = ((0.9, "excellent"), (0.8, "good"), (0.65, "moderate"))


@dataclass(frozen=True, eq=False)
class RegimeStability:
    """Result of :func:`regime_stability`.

    Attributes
    ----------
    table : DataFrame
        One row per refit but the first, labelled by its first forecast row: ``rand`` (adjusted
        Rand index with the labels of the refit before), ``alike`` (share of rows with the same
        label after matching) and ``renamed`` (whether matching changes any name).
    first_to_last : float
        Adjusted Rand index between the first fit's labels and the last one's.
    n_rows : int
        Rows that were labelled.
    """

    table: pd.DataFrame
    first_to_last: float
    n_rows: int

    @property
    def words(self) -> str:
        """The mean index in a word: excellent, good, moderate or poor (Steinley, 2004)."""
        mean = float(self.table["rand"].mean())
        return next((word for least, word in _WORDS if mean >= least), "poor")

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        rand, alike = self.table["rand"], self.table["alike"]
        return {
            "refits": len(self.table),
            "rows": self.n_rows,
            "rand_mean": float(rand.mean()),
            "rand_lowest": float(rand.min()),
            "rand_lowest_at": _label(rand.idxmin()),
            "rand_first_to_last": self.first_to_last,
            "alike_mean": float(alike.mean()),
            "alike_lowest": float(alike.min()),
            "renamed": int(self.table["renamed"].sum()),
            "words": self.words,
        }


def _label(label: Any) -> str:
    return label.date().isoformat() if hasattr(label, "date") else str(label)


def regime_stability(study: Study, name: str) -> RegimeStability | None:
    """Compare how each refit of a model and the refit before label the same rows.

    The rows are all that the study forecast. Each refit labels them by the regime that its
    parameters give the largest predicted probability, from an even start; the labels of later
    refits have thus seen these rows in their fit, which makes this a description and no forecast.
    Labels are matched by the assignment under which most rows agree (Hungarian algorithm); the
    adjusted Rand index needs no matching: 1 where both divide the rows in the same way, 0 on
    average where they do so by chance.

    Parameters
    ----------
    study : Study
        Of :func:`regimeslot.walk_forward`, which keeps the refits of models with regimes.
    name : str

    Returns
    -------
    RegimeStability, or None for a model without regimes, or with one fit only

    Raises
    ------
    InvalidInputError
        For a name that the study does not hold.

    References
    ----------
    Hubert, L. and Arabie, P. (1985). Comparing partitions. Journal of Classification 2, 193-218.
    Steinley, D. (2004). Properties of the Hubert-Arabie adjusted Rand index. Psychological
    Methods 9, 386-396.

    Examples
    --------
    >>> import pandas as pd
    >>> from regimeslot.evaluation.walk_forward import walk_forward
    >>> from regimeslot.features import make_dataset
    >>> std = np.repeat([0.005, 0.02, 0.005, 0.02, 0.005, 0.02, 0.005, 0.02], 100)
    >>> steps = std * np.random.default_rng(0).standard_normal(800)
    >>> dates = pd.bdate_range("2020-01-01", periods=800)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates))
    >>> study = walk_forward(["markov"], data, train_size=500, refit_every=100)
    >>> regime_stability(study, "markov").words
    'excellent'
    """
    import pandas as pd

    if name not in study.forecasts:
        raise InvalidInputError(
            f"no forecasts of {name}: the study has {', '.join(study.forecasts)}"
        )
    refits = study.refits.get(name, ())
    if len(refits) < 2 or study.forecasts[name].n_components < 2:
        return None
    labels = [_labels(model, study) for model in refits]
    rows, starts = [], []
    for fold, before, after in zip(study.folds[1:], labels[:-1], labels[1:], strict=True):
        names = match_labels(before, after)
        both = np.intersect1d(before, after)
        rows.append(
            {
                "rand": adjusted_rand_index(before, after),
                "alike": accuracy(before, names[after]),
                "renamed": bool((names[both] != both).any()),
            }
        )
        starts.append(study.dataset.y.index[fold.test.start])
    table = pd.DataFrame(rows, index=pd.Index(starts, name="refit"))
    return RegimeStability(table, adjusted_rand_index(labels[0], labels[-1]), len(labels[0]))


def _labels(model: Forecaster, study: Study) -> Labels:
    """The likeliest regime of each forecast row by one refit."""
    return np.asarray(_relabelled(model, study).weights.argmax(axis=1), dtype=np.intp)


def _relabelled(model: Forecaster, study: Study) -> MixtureForecast:
    """All forecast rows by the parameters of one refit, from an even start."""
    dataset, rows = study.dataset, study.rows
    held: Any = copy(model)
    held.state_ = np.full_like(held.state_, 1.0 / held.state_.shape[-1])
    reach = len(getattr(held, "recent_", ()))
    if reach:
        held.recent_ = dataset.y.to_numpy()[rows.start - reach : rows.start]
    forecast: MixtureForecast = held.predict(dataset.X.iloc[rows], dataset.y.iloc[rows])
    return forecast
