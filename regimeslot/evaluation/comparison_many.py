"""Multiple comparisons: which of many models are among the best, allowing for having looked at all.

A single Diebold-Mariano test of the best of twenty models rejects far too often. The tests here
hold their error rate over all models of the set at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.evaluation.comparison import long_run_variance
from regimeslot.evaluation.comparison_checks import as_share, as_whole

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.walk_forward import Study

__all__ = [
    "SuperiorAbility",
    "model_confidence_set",
    "step_m",
    "study_losses",
    "superior_predictive_ability",
]

Array = NDArray[np.float64]

_SMALLEST = 20  # rows below which a block bootstrap says nothing


@dataclass(frozen=True)
class SuperiorAbility:
    """Result of :func:`superior_predictive_ability`, one test over all models.

    Attributes
    ----------
    reference : str
    best : str
        Model with the largest t over the reference.
    lower, p, upper : float
        Hansen's liberal, consistent and conservative (Reality Check) p-value of "no model beats
        the reference".
    """

    reference: str
    best: str
    lower: float
    p: float
    upper: float


def study_losses(study: Study, score: str = "log_score") -> pd.DataFrame:
    """Losses of every row and model of a study, smaller is better.

    Parameters
    ----------
    study : Study
    score : str
        "log_score" (its negative), "crps", "qlike" or "squared_error" (of the mean forecast).

    Raises
    ------
    InvalidInputError
        For another score.
    """
    import pandas as pd

    from regimeslot.evaluation.scores import crps, qlike

    y = study.y.to_numpy(np.float64)
    if score == "log_score":
        return -study.log_scores()
    if score not in ("crps", "qlike", "squared_error"):
        raise InvalidInputError(
            f"score must be log_score, crps, qlike or squared_error, got {score!r}"
        )
    columns = {}
    for name, forecast in study.forecasts.items():
        if score == "squared_error":
            columns[name] = (y - forecast.mean()) ** 2
        else:
            columns[name] = crps(forecast, y) if score == "crps" else qlike(forecast, y)
    return pd.DataFrame(columns, index=study.y.index)


def model_confidence_set(
    losses: Study | Mapping[str, ArrayLike] | pd.DataFrame,
    *,
    level: float = 0.9,
    score: str = "log_score",
    block: int | None = None,
    draws: int = 1000,
    method: Literal["R", "max"] = "R",
    random_state: int | None = 0,
) -> pd.DataFrame:
    """Multiple comparison: the models that hold the best one with probability ``level``.

    Parameters
    ----------
    losses : Study, or (n,) losses by model name
        Smaller is better.
    level : float
        Confidence, usually .9 or .75.
    score : str
        Of a Study, see :func:`study_losses`.
    block : int, optional
        Mean rows of a block of the stationary bootstrap; default the square root of n.
    draws : int
        Bootstrap samples.
    method : str
        "R", over all pairs, or "max", over deviations from the average.
    random_state : int, optional

    Returns
    -------
    DataFrame
        One row per model, best first: ``mean_loss``, ``p`` (the smallest ``1 - level`` at which it
        is out) and ``included``. Models with the same loss in each row stand or fall together.

    References
    ----------
    Hansen, P. R., Lunde, A. and Nason, J. M. (2011). The model confidence set. Econometrica 79,
    453-497. Computed by arch.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((300, 3))
    >>> losses = {"good": noise[:, 0], "as good": noise[:, 1], "bad": noise[:, 2] + 1.0}
    >>> model_confidence_set(losses)["included"].sort_index().to_dict()
    {'as good': True, 'bad': False, 'good': True}
    """
    import pandas as pd
    from arch.bootstrap import MCS

    table = _table(losses, score)
    if method not in ("R", "max"):
        raise InvalidInputError(f"method must be 'R' or 'max', got {method!r}")
    size = 1.0 - as_share(level, "level")
    values = table.to_numpy()
    # Equal columns have a difference of variance zero, which no bootstrap can standardise.
    _, first, twin = np.unique(values, axis=1, return_index=True, return_inverse=True)
    order = np.sort(first)
    p = np.ones(order.size)
    if order.size > 1:
        test = MCS(
            values[:, order],
            size=size,
            reps=as_whole(draws, "draws", 1),
            block_size=_block(block, len(table)),
            method=method,
            seed=random_state,
        )
        test.compute()
        p = test.pvalues["Pvalue"].sort_index().to_numpy()
    place = {column: i for i, column in enumerate(order.tolist())}
    by_model = np.array([p[place[first[t]]] for t in np.ravel(twin)])
    result = pd.DataFrame(
        {"mean_loss": table.mean().to_numpy(), "p": by_model, "included": by_model > size},
        index=table.columns.rename("model"),
    )
    return result.sort_values("mean_loss", kind="stable")


def superior_predictive_ability(
    losses: Study | Mapping[str, ArrayLike] | pd.DataFrame,
    reference: str,
    *,
    score: str = "log_score",
    block: int | None = None,
    draws: int = 1000,
    random_state: int | None = 0,
) -> SuperiorAbility:
    """Multiple comparison: whether any model beats the reference, after looking at all of them.

    ``max_k sqrt(n) mean(d_k) / s_k`` with d the reference's loss minus model k's and s its
    long-run standard deviation, against its stationary-bootstrap distribution.

    Parameters
    ----------
    losses, score, block, draws, random_state : as in :func:`model_confidence_set`
    reference : str
        Name of the model to beat.

    References
    ----------
    Hansen, P. R. (2005). A test for superior predictive ability. Journal of Business and Economic
    Statistics 23, 365-380. Computed by arch, on differences divided by their deviations first.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((300, 3))
    >>> losses = {"ours": noise[:, 0] - 0.5, "other": noise[:, 1], "garch": noise[:, 2]}
    >>> result = superior_predictive_ability(losses, "garch")
    >>> result.best, result.p < 0.01
    ('ours', True)
    """
    test, names, t = _spa(losses, reference, score, block, draws, random_state)
    test.compute()
    p = test.pvalues
    return SuperiorAbility(
        reference,
        names[int(np.argmax(t))],
        float(p["lower"]),
        float(p["consistent"]),
        float(p["upper"]),
    )


def step_m(
    losses: Study | Mapping[str, ArrayLike] | pd.DataFrame,
    reference: str,
    *,
    size: float = 0.05,
    score: str = "log_score",
    block: int | None = None,
    draws: int = 1000,
    random_state: int | None = 0,
) -> list[str]:
    """Multiple comparison: the models that beat the reference, with few false ones among them.

    With probability ``1 - size`` none of the models named is in truth no better. The largest t
    are taken out and the rest is tested again until nothing more is found.

    Parameters
    ----------
    losses, score, block, draws, random_state : as in :func:`model_confidence_set`
    reference : str
        Name of the model to beat.
    size : float
        Probability of any false finding.

    References
    ----------
    Romano, J. P. and Wolf, M. (2005). Stepwise multiple testing as formalized data snooping.
    Econometrica 73, 1237-1282. Each step is Hansen's test as computed by arch.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((300, 3))
    >>> losses = {"ours": noise[:, 0] - 0.5, "other": noise[:, 1], "garch": noise[:, 2]}
    >>> step_m(losses, "garch")
    ['ours']
    """
    level = as_share(size, "size")
    test, names, _ = _spa(losses, reference, score, block, draws, random_state)
    left = np.ones(len(names), dtype=bool)
    while left.any():
        test.subset(left.copy())
        test.compute()
        better = [int(k) for k in test.better_models(level) if left[int(k)]]
        if not better:
            break
        left[better] = False
    return [name for name, still in zip(names, left, strict=True) if not still]


def _spa(
    losses: Study | Mapping[str, ArrayLike] | pd.DataFrame,
    reference: str,
    score: str,
    block: int | None,
    draws: int,
    random_state: int | None,
) -> tuple[Any, list[str], Array]:
    """Arch's test on studentised differences, the models' names and their mean over deviation."""
    from arch.bootstrap import SPA

    table = _table(losses, score)
    if reference not in table.columns:
        raise InvalidInputError(
            f"reference must be one of {', '.join(map(repr, table.columns))}, got {reference!r}"
        )
    others = table.drop(columns=reference)
    difference = table[[reference]].to_numpy() - others.to_numpy()
    names = [str(name) for name in others.columns]
    deviation = np.sqrt([long_run_variance(d) for d in difference.T])
    same = deviation == 0.0
    if same.any():
        raise InvalidInputError(
            f"{names[int(np.argmax(same))]!r} and {reference!r} differ by the same in each row: "
            "leave one of them out"
        )
    # arch compares raw means; divided first, a model with wild losses cannot drown the others
    studentised = difference / deviation
    test = SPA(
        np.zeros(len(table)),
        -studentised,
        block_size=_block(block, len(table)),
        reps=as_whole(draws, "draws", 1),
        seed=random_state,
    )
    return test, names, studentised.mean(axis=0)


def _table(losses: Any, score: str) -> pd.DataFrame:
    import pandas as pd

    table = study_losses(losses, score) if hasattr(losses, "log_scores") else pd.DataFrame(losses)
    table = table.astype(np.float64)
    if table.shape[1] < 2:
        raise InvalidInputError(f"expected losses of at least 2 models, got {table.shape[1]}")
    if len(table) < _SMALLEST:
        raise TooFewRowsError(f"a block bootstrap needs {_SMALLEST} rows or more, got {len(table)}")
    bad = ~np.isfinite(table.to_numpy()).all(axis=0)
    if bad.any():
        raise InvalidInputError(
            f"the losses of {table.columns[int(np.argmax(bad))]!r} must be finite; "
            "leave that model out, or drop the rows"
        )
    return table


def _block(block: int | None, n: int) -> int:
    length = int(np.sqrt(n)) if block is None else as_whole(block, "block", 1)
    if length > n:
        raise InvalidInputError(f"block must be at most the {n} rows, got {length}")
    return length
