"""The whole slot solver: many cheap starts, a few good ones refined, then the cooperative loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from regimeslot.errors import ConvergenceError
from regimeslot.solvers.slot_design import Array, Design
from regimeslot.solvers.slot_em import SlotState, multi_start_em, refine_em, responsibilities
from regimeslot.solvers.slot_gate import gate_newton
from regimeslot.solvers.slot_penalty import SlotPenalty, estimate_pooling
from regimeslot.solvers.slot_polish import (
    cooperative_loss,
    hard_finish,
    levenberg_marquardt,
    scale_gate,
    tied_gate,
    with_cooperative_likelihood,
)

__all__ = ["SolverSettings", "cold_start", "fit_slots", "mixture_likelihood", "pooled_state"]

_EXACT = 1e-18  # a residual variance, relative to the targets', that is rounding alone
_DEAD_ROWS = 1.0  # a slot with fewer rows per coefficient than this cannot have been estimated
_NEARLY_EXACT = 1e-3  # below it rows can be labelled by their residuals


@dataclass(frozen=True)
class SolverSettings:
    """Effort of the solver.

    Attributes
    ----------
    n_starts, start_iterations
        batched EM starts and their length
    rows_per_parameter, most_rows
        the starts see a subsample of that many rows for every expert coefficient, at least 1,000
    n_kept, kept_iterations
        starts refined with a Newton gate on the same rows, and for how long
    max_iter
        EM iterations of the best one on all rows
    polish_iterations
        Levenberg-Marquardt steps on the cooperative loss
    pooling_rounds
        times the pooling strength is estimated; 0 keeps the given one
    """

    n_starts: int = 32
    start_iterations: int = 40
    rows_per_parameter: int = 60
    most_rows: int = 4000
    n_kept: int = 3
    kept_iterations: int = 15
    max_iter: int = 20
    polish_iterations: int = 40
    pooling_rounds: int = 0


def pooled_state(design: Design, n_slots: int, ridge: Array) -> SlotState:
    """Every slot equal to the one regression on all rows; the gate is flat."""
    W = design.ordinary(ridge)
    variance = design.weights @ (design.Y - design.Z @ W.T) ** 2 / design.total
    return SlotState(
        np.tile(W, (n_slots, 1, 1)),
        np.zeros((n_slots, W.shape[1])),
        np.tile(np.maximum(variance, _EXACT), (n_slots, 1)),
        iterations=1,
    )


def cold_start(
    design: Design,
    n_slots: int,
    penalty: SlotPenalty,
    settings: SolverSettings,
    rng: np.random.Generator,
) -> SlotState:
    """The best of many starts, by the likelihood on the rows the starts were run on."""
    sample = design
    n_rows = settings.rows_per_parameter * n_slots * design.Z.shape[1]
    n_rows = min(max(n_rows, 1000), settings.most_rows)
    if len(design.Z) > n_rows:
        sample = design.rows(np.sort(rng.permutation(len(design.Z))[:n_rows]))
    share = penalty.scaled(sample.total / design.total)
    candidates = multi_start_em(
        sample,
        n_slots,
        n_starts=settings.n_starts,
        iterations=settings.start_iterations,
        ridge=share.ridge,
        rng=rng,
    )
    refined = [
        refine_em(
            sample,
            state,
            iterations=settings.kept_iterations,
            penalty=share,
            shared_variance=True,
        )
        for state in candidates[: settings.n_kept]
    ]
    usable = [state for state in refined if np.isfinite(state.log_likelihood)]
    if not usable:
        raise ConvergenceError(
            "expected at least one EM start with a finite likelihood, got none; "
            "check X and y for extreme values, or raise n_starts"
        )
    return max(usable, key=lambda state: state.log_likelihood)


def em_solution(
    design: Design,
    n_slots: int,
    penalty: SlotPenalty,
    settings: SolverSettings,
    *,
    rng: np.random.Generator,
    start: SlotState | None,
) -> tuple[SlotState, SlotPenalty]:
    """EM with one residual variance on all rows, and the penalty with its estimated strength."""

    def refine(state: SlotState) -> SlotState:
        return refine_em(
            design, state, iterations=settings.max_iter, penalty=penalty, shared_variance=True
        )

    state = refine(start or cold_start(design, n_slots, penalty, settings, rng))
    for _ in range(n_slots):
        revived = _revive(design, state)
        if revived is None:
            break
        revived = refine(revived)
        better = revived.log_likelihood > state.log_likelihood
        state = replace(revived if better else state, restarts=revived.restarts)
        if not better:
            break
    for _ in range(settings.pooling_rounds):
        resp = responsibilities(design, state)[0]
        penalty = estimate_pooling(
            penalty, design.grams(resp), design.cross(resp), state.variance[0]
        )
        state = refine(state)
    return state, penalty


def _revive(design: Design, state: SlotState) -> SlotState | None:
    """Start the least used slot again on the worst explained rows, if it has died."""
    resp, densities = responsibilities(design, state)
    K, D = state.V.shape
    mass = resp @ design.weights
    dead = int(mass.argmin())
    if mass[dead] >= _DEAD_ROWS * design.total / len(design.Z) * D:
        return None
    worst = np.argsort(densities, kind="stable")[: max(len(design.Z) // K, D)]
    rows = design.rows(worst)
    W = state.W.copy()
    W[dead] = rows.ordinary(np.full(D, 1e-6 * rows.total))
    targets = resp.copy()
    targets[:, worst] *= 0.5
    targets[dead, worst] += 0.5
    V = gate_newton(design, targets, state.V, iterations=2, ridge=1e-3 * design.total)
    return replace(state, W=W, V=V, restarts=state.restarts + 1)


def fit_slots(
    design: Design,
    n_slots: int,
    penalty: SlotPenalty,
    settings: SolverSettings,
    *,
    rng: np.random.Generator,
    start: SlotState | None = None,
) -> SlotState:
    r"""EM, then the cooperative loss where that is the better law.

    Two densities share the parameters: the mixture :math:`\sum_k \pi_k N(y; f_k, \sigma^2)`, which
    EM fits, and the Gaussian around the mixed mean :math:`N(y; \sum_k \pi_k f_k, s^2)`, whose
    likelihood is the cooperative loss. The polishing steps lower that loss on the training rows.
    Their result is returned where the Gaussian explains the rows better than the mixture does by
    more than the gate's parameters are worth (Schwarz 1978): with smooth transitions, or without
    noise. With noisy regimes the mixture's gate predicts new rows better, because it is not bent to
    a few rows beside the boundary. A gate tied to the experts has no parameters of its own and is
    taken by the same rule where it fits nearly as well; and so is, where the pooling strength is
    estimated, the one regression that strength may grow to.
    """
    pooled = pooled_state(design, n_slots, penalty.ridge)
    if n_slots == 1 or np.all(pooled.variance <= _EXACT):
        return pooled
    state, penalty = em_solution(design, n_slots, penalty, settings, rng=rng, start=start)
    candidates = [scale_gate(design, state)]
    if penalty.rank is None:
        polished = levenberg_marquardt(
            design, candidates[0], penalty, iterations=settings.polish_iterations
        )
        candidates += [polished, scale_gate(design, polished)]
    if np.all(state.variance < _NEARLY_EXACT):
        candidates.append(hard_finish(design, state, penalty))
    best = min(candidates, key=lambda c: cooperative_loss(design, c, penalty))
    ties = [tied for c in (state, best) for tied in tied_gate(design, c, penalty)]
    best, *ties = (with_cooperative_likelihood(design, c) for c in (best, *ties))
    worth = 0.5 * (n_slots - 1) * design.Z.shape[1] * np.log(design.total)
    scored = [(best, 0.0), (state, worth), *((tied, 2 * worth) for tied in ties)]
    if settings.pooling_rounds:
        one = replace(with_cooperative_likelihood(design, pooled), iterations=state.iterations)
        scored.append((one, (2 + design.Y.shape[1]) * worth))
    return max(scored, key=lambda pair: pair[0].log_likelihood + pair[1])[0]


def mixture_likelihood(
    design: Design,
    n_slots: int,
    penalty: SlotPenalty,
    settings: SolverSettings,
    *,
    rng: np.random.Generator,
    start: SlotState | None = None,
) -> SlotState:
    """Greatest mixture likelihood, with a residual variance of its own for every slot."""
    pooled = pooled_state(design, n_slots, penalty.ridge)
    if n_slots == 1 or np.all(pooled.variance <= _EXACT):
        return pooled
    state, penalty = em_solution(design, n_slots, penalty, settings, rng=rng, start=start)
    return refine_em(
        design,
        state,
        iterations=10 * settings.max_iter,
        penalty=penalty,
        shared_variance=False,
        variance_floor=1e-12,
        prior_rows=1.0,
        tolerance=1e-8,
    )
