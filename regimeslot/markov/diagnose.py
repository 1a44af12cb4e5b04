"""What a reader should know about a fit: boundaries, unstable regimes, spikes; and the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.chain import stationary_distribution
from regimeslot.markov.finish import at_boundary
from regimeslot.markov.layout import DOF_FLOOR, VARIANCE_FLOOR

if TYPE_CHECKING:
    from regimeslot.markov.result import MarkovSwitchingResult

__all__ = ["notes", "summary"]

_FEW_ROWS = 10.0  # a regime expected to hold fewer rows is looked at closely
_GAUSSIAN_DOF = 100.0


def notes(result: MarkovSwitchingResult) -> tuple[str, ...]:
    """Sentences on boundaries, nonstationary regimes and spurious spikes."""
    return (
        *_boundaries(result),
        *_flat(result),
        *_nonstationary(result),
        *_spikes(result),
    )


def _boundaries(result: MarkovSwitchingResult) -> list[str]:
    layout, found = result.layout, []
    fixed = at_boundary(layout, result.theta)[layout.blocks["logits"]]
    moves = np.argwhere(layout.off_diagonal)
    if not layout.n_tvtp and fixed.any():
        zero = ", ".join(f"p[{i}->{j}]" for i, j in moves[fixed])
        found.append(
            f"boundary optimum: {zero} = 0; standard errors of the other parameters are "
            "conditional on it"
        )
    for names, what in (
        (_dof_names(result, result.natural.dof > _GAUSSIAN_DOF), "as good as Gaussian"),
        (_dof_names(result, result.natural.dof < 1.01 * DOF_FLOOR), "at its floor"),
    ):
        if names:
            found.append(
                f"boundary: {', '.join(names)} {what}; standard errors of the other parameters are "
                "conditional on that"
            )
    if layout.estimated_initial and result.natural.initial.max() > 1 - 1e-4:
        found.append("boundary: the estimated initial distribution is one regime")
    return found


def _dof_names(result: MarkovSwitchingResult, which: NDArray[np.bool_]) -> list[str]:
    if not result.layout.switching_dof:
        return ["dof"] if which.any() else []
    return [f"dof[{k}]" for k in np.flatnonzero(which)]


def _flat(result: MarkovSwitchingResult) -> list[str]:
    if not result.flat:
        return []
    return [
        "flat likelihood: the last steps of the fit gained less than 0.0001 together, so the data "
        "hardly tell neighbouring parameters apart: use fewer regimes, a common dof or a prior"
    ]


def _nonstationary(result: MarkovSwitchingResult) -> list[str]:
    p, natural = result.design.order, result.natural
    if p == 0:
        return []
    lag_coef = natural.ar if result.layout.n_ar else natural.coef[:, -p:]
    found = []
    for k, phi in enumerate(lag_coef):
        companion = np.eye(p, k=-1)
        companion[0] = phi
        root = np.abs(np.linalg.eigvals(companion)).max()
        if root >= 1:
            found.append(
                f"nonstationary regime {k}: its autoregression has a root of modulus {root:.3f}; "
                "the chain may leave it soon enough for the process to be stable"
            )
    return found


def _spikes(result: MarkovSwitchingResult) -> list[str]:
    layout, natural = result.layout, result.natural
    if layout.n_regimes == 1:
        return []
    share = stationary_distribution(natural.transition) if not layout.n_tvtp else None
    floor = 10 * VARIANCE_FLOOR * result.scaling.scale**2
    rare = share is None or share.min() * result.n_obs < _FEW_ROWS
    if not rare and natural.sigma2.min() > floor:
        return []
    rows = result.smoothed_probs.to_numpy().sum(axis=0)
    n_columns = len(layout.columns)
    found = []
    for k in range(layout.n_regimes):
        tiny = layout.switching_variance and natural.sigma2[k] < 1e-3 * np.median(natural.sigma2)
        if natural.sigma2[k] <= floor and layout.switching_variance:
            found.append(
                f"spurious spike: the variance of regime {k} is at its floor, on "
                f"{_count(rows[k])} rows: use a variance prior or fewer regimes"
            )
        elif rows[k] < n_columns + 2 and tiny:
            found.append(
                f"spurious spike: regime {k} explains {_count(rows[k])} rows almost exactly: use "
                "a variance prior or fewer regimes"
            )
        elif rows[k] < n_columns + 2:
            found.append(
                f"thin regime {k}: it holds {_count(rows[k])} rows, its parameters mean little"
            )
    return found


def _count(rows: float) -> str:
    """An expected number of rows: whole, but for the few that a fraction changes."""
    return f"{rows:.0f}" if rows >= _FEW_ROWS else f"{rows:.2g}"


def summary(result: MarkovSwitchingResult) -> str:
    """Text table of a fit."""
    config, layout = result.config, result.layout
    form = f"AR({config['order']}), {config['form']} form" if config["order"] else "regression"
    law = "Student-t" if layout.student else "Gaussian"
    lines = [
        f"Markov switching {form}, {layout.n_regimes} regimes, {law}",
        f"rows {result.n_obs}   log-likelihood {result.loglikelihood:.4f}   "
        f"AIC {result.aic:.3f}   BIC {result.bic:.3f}   HQIC {result.hqic:.3f}",
        "",
        f"{'parameter':<20}{'estimate':>14}{'std. error':>14}{'z':>10}",
    ]
    errors = result.std_errors.to_numpy()
    for (name, value), error in zip(result.params.items(), errors, strict=True):
        ratio = value / error if error > 0 else np.nan
        lines.append(f"{name!s:<20}{value:>14.6g}{error:>14.6g}{ratio:>10.2f}")
    if not layout.n_tvtp:
        lines += ["", "transition (from row to column) and expected duration"]
        for k, row in enumerate(result.transition):
            cells = "".join(f"{p:>12.6f}" for p in row)
            lines.append(f"regime {k}{cells}{result.expected_durations[k]:>14.3f}")
    ended = result.start_values[np.isfinite(result.start_values)]
    if ended.size > 1:
        kept = ended[~result.start_retired[np.isfinite(result.start_values)]]
        lines += [
            "",
            f"{ended.size} starts: {kept.size} finished, "
            f"{int((ended > ended.max() - 0.01).sum())} within 0.01 of the best, "
            f"worst {ended.min() - ended.max():.3f} below it",
        ]
    if not result.converged:
        lines += ["", "not converged"]
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join(lines)
