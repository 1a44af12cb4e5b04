"""How many regimes: criteria, out-of-sample score and a bootstrap test, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.markov.result import MarkovSwitchingResult
from regimeslot.markov.switching import MarkovSwitching

__all__ = ["select_regimes"]

Array = NDArray[np.float64]

_BURN_IN = 100  # rows dropped from simulated samples
_BOOTSTRAP_STARTS = 12


def select_regimes(
    y: object,
    exog: object = None,
    *,
    regimes: Sequence[int] = (1, 2, 3, 4),
    model: MarkovSwitching | None = None,
    n_folds: int = 4,
    first_train: float = 0.6,
    n_bootstrap: int = 99,
    random_state: int | None = 0,
) -> pd.DataFrame:
    """Fit several numbers of regimes and lay side by side what speaks for each.

    The likelihood-ratio statistic of K against the next smaller number has no chi-squared law
    (parameters are unidentified under the null), so its p-value is from samples simulated under
    the smaller model, ``(1 + #{LR* >= LR}) / (1 + B)``.

    Parameters
    ----------
    y, exog
        As in :meth:`MarkovSwitching.fit`; constant transitions.
    regimes : increasing integers
    model : MarkovSwitching, optional
        Everything but the number of regimes; default switching mean and variance.
    n_folds : int
        The rows after the first ``first_train`` share are forecast in this many stretches, each
        after a fit to all rows before it. 0 leaves the score out.
    first_train : float
        In (0, 1).
    n_bootstrap : int
        B; 0 leaves the test out.
    random_state : int or None

    Returns
    -------
    DataFrame
        Indexed by ``n_regimes``: log_likelihood, n_params, aic, bic, icl, log_score (mean
        log-density a row out of sample), lr, p_value, and notes.

    References
    ----------
    McLachlan, G. J. (1987). On bootstrapping the likelihood ratio test statistic for the number of
    components in a normal mixture. Applied Statistics 36.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal(400) * np.repeat([1.0, 4.0, 1.0, 4.0], 100)
    >>> table = select_regimes(y, regimes=(1, 2), n_bootstrap=9)
    >>> int(table["bic"].idxmin())
    2
    """
    sizes = [int(k) for k in regimes]
    if not sizes or sizes[0] < 1 or any(b <= a for a, b in pairwise(sizes)):
        raise InvalidInputError(f"regimes must be increasing integers >= 1, got {regimes!r}")
    if not 0 < first_train < 1:
        raise InvalidInputError(f"first_train must be in (0, 1), got {first_train!r}")
    base = MarkovSwitching(switching_variance=True) if model is None else model
    rows, smaller = [], None
    for k in sizes:
        arguments = {**base.get_params(), "n_regimes": k, "random_state": random_state}
        this = MarkovSwitching(**arguments)
        try:
            fit = this.fit(y, exog)
        except TooFewRowsError as error:
            rows.append({"n_regimes": k, "notes": str(error)})
            continue
        row = {
            "n_regimes": k,
            "log_likelihood": fit.loglikelihood,
            "n_params": fit.n_params,
            "aic": fit.aic,
            "bic": fit.bic,
            "icl": fit.icl,
            "log_score": _log_score(this, y, exog, n_folds, first_train) if n_folds else np.nan,
            "lr": np.nan,
            "p_value": np.nan,
            "notes": "; ".join(fit.notes),
        }
        if smaller is not None:
            row["lr"] = 2 * (fit.loglikelihood - smaller.loglikelihood)
            if n_bootstrap:
                row["p_value"] = _bootstrap(smaller, this, exog, n_bootstrap, random_state)
        rows.append(row)
        smaller = fit
    return pd.DataFrame(rows).set_index("n_regimes")


def _log_score(
    model: MarkovSwitching, y: object, exog: object, n_folds: int, first_train: float
) -> float:
    """Mean out-of-sample log-density of a row over expanding fits."""
    values = np.asarray(y, dtype=float).ravel()
    table = None if exog is None else np.asarray(exog, dtype=float).reshape(values.size, -1)
    edges = np.linspace(first_train * values.size, values.size, n_folds + 1).astype(int)
    total, count, fit = 0.0, 0, None
    for begin, end in pairwise(edges):
        seen = None if table is None else table[:begin]
        try:
            fit = model.fit(values[:begin], seen)
        except TooFewRowsError:
            return float("nan")
        ahead = fit.update(values[begin:end], None if table is None else table[begin:end])
        scores = ahead.loglikelihood_rows.to_numpy()[-(end - begin) :]
        known = ~np.isnan(values[begin:end])
        total += float(scores[known].sum())
        count += int(known.sum())
    return total / max(1, count)


def _bootstrap(
    null: MarkovSwitchingResult,
    model: MarkovSwitching,
    exog: object,
    n_bootstrap: int,
    random_state: int | None,
) -> float:
    """p-value of the likelihood ratio of ``model`` against ``null``.

    The sample's own statistic is searched for as hard as those of the simulated samples: a more
    thorough search of the sample alone would find more spurious optima there, and reject too often.
    """
    rng = np.random.default_rng(random_state)
    small = MarkovSwitching(**{**null.config, "n_starts": _BOOTSTRAP_STARTS})
    large = MarkovSwitching(**{**model.get_params(), "n_starts": _BOOTSTRAP_STARTS})
    y = null.design.y
    samples = np.empty((n_bootstrap + 1, y.size))
    burn = _BURN_IN if exog is None and null.config["trend"] in ("n", "c") else 0
    samples[0] = y
    for sample in samples[1:]:
        drawn = null.simulate(y.size + burn, exog, random_state=rng)["y"].to_numpy()
        sample[:] = np.where(np.isnan(y), np.nan, drawn[burn:])
    if exog is None:
        pairs = list(
            zip(
                small.fit_many(samples, n_starts=_BOOTSTRAP_STARTS),
                large.fit_many(samples, n_starts=_BOOTSTRAP_STARTS),
                strict=True,
            )
        )
    else:
        pairs = [(small.fit(sample, exog), large.fit(sample, exog)) for sample in samples]
    ratios = np.array([2 * (b.loglikelihood - a.loglikelihood) for a, b in pairs])
    return (1 + int((ratios[1:] >= ratios[0]).sum())) / (1 + n_bootstrap)
