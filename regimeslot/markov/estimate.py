"""Maximum likelihood from several starts: short EM, then BFGS on the exact score.

EM is cheap per step and walks far from a bad start; BFGS finishes what EM would take hundreds of
steps for. A long series is screened on stretches spread over it, so that ten starts cost little
more than one. The chosen optimum is cleaned of transitions that went to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.chain import stationary_distribution
from regimeslot.markov.emission import Observations, RegressionEmission
from regimeslot.markov.finish import LEFT_TO_GAIN, inside, polish
from regimeslot.markov.layout import VARIANCE_FLOOR, Layout, Parts
from regimeslot.markov.objective import Objective, Priors
from regimeslot.markov.starts import candidate_starts, stretches, with_slopes
from regimeslot.solvers.batched_bfgs import Optima, maximise
from regimeslot.solvers.memory import keep_freed_memory

__all__ = ["Estimate", "estimate", "first_inverse_hessian", "refine"]

Array = NDArray[np.float64]

_FIRST_EM = 4  # EM steps of every candidate of a screening
_SECOND_EM = 6  # further steps of the better third
_SECOND_EM_LONG = 3  # the same on stretches of a long series, whose optima are far apart
_LAST_EM = 2  # on all rows, before BFGS
_DIRECT_EM = 5  # where all candidates are taken to their optimum
_POLISH_WORK = 40_000  # rows x states of the starts that are taken to their optimum
_LAGGED_WORK = 160_000  # the same with the composite states of the mean-adjusted form
_CANDIDATE_ROWS = 2_000  # a series shorter than this draws several candidates per start
_COARSE = 1e-5  # expected gain at which BFGS hands over to the exact Hessian
_WARM_ROWS = 40_000  # rows of one call when a warm refit takes its Hessian, to stay in cache
_WORTH = 0.5  # starts that end this near the best are all taken to the exact optimum


@dataclass(frozen=True)
class Estimate:
    """One series' estimate on its standardised scale.

    Attributes
    ----------
    theta : (n,)
    objective : float
        Penalised log-likelihood of the standardised data.
    gain : float
        What the quadratic model of the optimiser still promised.
    converged : bool
        What is left to gain is below 1e-3.
    flat : bool
        The likelihood is so flat that the last steps gained next to nothing.
    start_values : (n_starts,)
        Where each start that was taken to its optimum ended.
    start_retired : (n_starts,) bool
        Starts that were given up because they were about to end where another one did, or lower.
    information : (n, n)
        Minus the Hessian of the objective at ``theta``.
    """

    theta: Array
    objective: float
    gain: float
    converged: bool
    flat: bool
    start_values: Array
    start_retired: NDArray[np.bool_]
    information: Array


def _em(objective: Objective, theta: Array, series: NDArray[np.intp], steps: int) -> Array:
    """EM with constant transitions; the degrees of freedom stay where they are."""
    layout, emission, priors = objective.layout, objective.emission, objective.priors
    if not isinstance(emission, RegressionEmission):
        return theta
    pseudo = np.full((layout.n_regimes, layout.n_regimes), priors.move)
    np.fill_diagonal(pseudo, priors.stay)
    share = priors.variance / (1 if layout.switching_variance else layout.n_regimes)
    for _ in range(steps):
        at = objective.evaluate(theta, series)
        smoothed = at.posterior.smoothed.reshape(layout.n_regimes, theta.shape[0], -1)
        coef, variance, _ = emission.maximise(
            smoothed, at.scored.weight, series, at.parts.variance, share
        )
        counts, first = objective.transition_counts(at)
        moves = np.log(np.maximum(counts[..., 0] + pseudo, 1e-6))
        logits = moves - np.diagonal(moves, axis1=1, axis2=2)[..., None]
        initial = at.parts.raw_initial
        if initial.shape[1]:
            initial = np.log(np.maximum(first, 1e-6))
            initial -= initial[:, -1:]
        theta = layout.pack(
            Parts(
                np.clip(logits, -15, 15)[..., None],
                coef,
                at.parts.ar,
                np.log(np.maximum(variance - VARIANCE_FLOOR, VARIANCE_FLOOR)),
                at.parts.raw_dof,
                initial,
            )
        )
    return theta


def first_inverse_hessian(objective: Objective, theta: Array, series: NDArray[np.intp]) -> Array:
    """Inverse of the diagonal of the complete-data information."""
    layout, data = objective.layout, objective.data
    parts = layout.unpack(theta)
    transition = objective.transition(parts).mean(axis=3)
    count = objective.n_rows * stationary_distribution(transition)
    size = (data.columns**2).mean(axis=2)
    size = size if size.shape[0] == 1 else size[series]
    q = max(1, layout.n_tvtp)
    by_move = np.maximum(count[:, :, None] * transition * (1.0 - transition), 1.0)
    by_move = np.repeat(by_move[:, layout.off_diagonal][..., None], q, axis=2)
    by_coef = (count / parts.variance)[..., None] * size[:, None]
    information = np.ones(theta.shape)
    at_ = layout.blocks
    information[:, at_["logits"]] = by_move.reshape(theta.shape[0], -1)
    information[:, at_["coef"]] = layout.collapse_coef(by_coef)
    ar = np.repeat(count[..., None], layout.n_ar, axis=2)
    information[:, at_["ar"]] = layout.collapse(ar, layout.switching_ar)
    information[:, at_["variance"]] = layout.collapse(0.5 * count, layout.switching_variance)
    if layout.student:
        information[:, at_["dof"]] = layout.collapse(0.05 * count, layout.switching_dof)
    diagonal = 1.0 / np.maximum(information, 1e-2)
    return diagonal[:, :, None] * np.eye(layout.n_params)


def refine(
    objective: Objective,
    theta: Array,
    series: NDArray[np.intp],
    *,
    tolerance: float = _COARSE,
    max_iterations: int = 300,
    inverse_hessian: Array | None = None,
) -> Optima:
    """BFGS from every row of ``theta``; ``series`` names the data each of them sees."""
    if inverse_hessian is None:
        inverse_hessian = first_inverse_hessian(objective, theta, series)

    def value_and_gradient(trial: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        return objective.value_and_gradient(trial, series[rows])

    return maximise(
        value_and_gradient,
        theta,
        inverse_hessian,
        groups=series,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )


def _begin(objective: Objective, theta: Array, series: NDArray[np.intp]) -> Optima:
    """A warm start as it is: the exact Hessian takes it to its optimum in a few steps."""
    return refine(objective, theta, series, max_iterations=0)


def _best(value: Array, n_series: int, keep: int) -> NDArray[np.intp]:
    """Rows of the best ``keep`` candidates of every series."""
    table = np.where(np.isfinite(value), value, -np.inf).reshape(n_series, -1)
    order = np.argsort(-table, axis=1, kind="stable")[:, :keep]
    return (order + np.arange(n_series)[:, None] * table.shape[1]).ravel()


def estimate(
    layout: Layout,
    data: Observations,
    *,
    n_starts: int,
    priors: Priors,
    initial: Array | None,
    seed: int | None,
    candidates_per_start: int | None = None,
    start: Array | None = None,
) -> list[Estimate]:
    """Fit every series of ``data``.

    Parameters
    ----------
    layout : Layout
    data : Observations
        D series.
    n_starts : int
        Starts taken to their optimum; a short series draws several candidates for each of them, a
        long one takes only the best few of them all the way.
    priors : Priors
    initial : (K,) array or None
    seed : int or None
    candidates_per_start : int, optional
        Candidates that are screened for each start; default more of them the shorter the series.
    start : (D, n) array, optional
        Start here, and from nowhere else.

    Returns
    -------
    list of Estimate, one per series
    """
    keep_freed_memory()
    n_series, n_rows = data.y.shape[0], data.y.shape[1] - layout.n_ar
    every = np.arange(n_series)
    if start is not None:
        batch = max(n_series, min(layout.n_params, _WARM_ROWS // n_rows))
        objective = Objective(layout, data, batch, priors=priors, initial=initial)
        return _collect(objective, _begin(objective, inside(layout, start), every), every, n_series)
    rng = np.random.default_rng(seed)
    if layout.n_tvtp:
        return _estimate_varying(layout, data, n_starts, priors, initial, rng)
    if layout.n_regimes == 1:
        n_starts = candidates_per_start = 1
    others = max(1, layout.n_regimes - 1)
    if candidates_per_start is None:
        candidates_per_start = int(
            np.clip(_CANDIDATE_ROWS * others // n_rows, max(1, others - 1), 6 * others)
        )
    candidates = n_starts * candidates_per_start
    if layout.n_ar:
        work = n_rows * layout.n_regimes ** (layout.n_ar + 1)
        few = int(np.clip(_LAGGED_WORK // work, min(2, n_starts), n_starts))
        candidates = min(candidates, 3 * n_starts)
        theta, series = _mean_adjusted_starts(layout, data, few, candidates, priors, rng)
        objective = Objective(layout, data, theta.shape[0], priors=priors, initial=initial)
        return _collect(objective, refine(objective, theta, series), series, n_series)
    fewest = min(max(2, layout.n_regimes - 1), n_starts)
    keep = int(np.clip(_POLISH_WORK // (n_rows * layout.n_regimes), fewest, candidates))
    theta, series = _screen(layout, data, candidates, keep, priors, initial, rng)
    objective = Objective(layout, data, theta.shape[0], priors=priors, initial=initial)
    if keep < candidates:
        theta = _em(objective, theta, series, _LAST_EM)
    return _collect(objective, refine(objective, theta, series), series, n_series)


def _screen(
    layout: Layout,
    data: Observations,
    candidates: int,
    keep: int,
    priors: Priors,
    initial: Array | None,
    rng: np.random.Generator,
) -> tuple[Array, NDArray[np.intp]]:
    """Short EM from every candidate; the best ``keep`` of each series, and whose they are."""
    n_series, n_rows = data.y.shape
    part, n_segments = stretches(data, n_rows) or (data, 1)
    theta = layout.pack(candidate_starts(layout, part, candidates, rng))
    series = np.repeat(np.arange(n_series), candidates)
    objective = Objective(
        layout, part, theta.shape[0], priors=priors, initial=initial, n_segments=n_segments
    )
    if keep >= candidates:
        return _em(objective, theta, series, _DIRECT_EM), series
    theta = _em(objective, theta, series, _FIRST_EM)
    chosen = _best(objective.value(theta, series), n_series, max(keep, candidates // 3))
    steps = _SECOND_EM if n_segments == 1 else _SECOND_EM_LONG
    theta = _em(objective, theta[chosen], series[chosen], steps)
    series = series[chosen]
    chosen = _best(objective.value(theta, series), n_series, keep)
    return theta[chosen], series[chosen]


def _mean_adjusted_starts(
    layout: Layout,
    data: Observations,
    n_starts: int,
    candidates: int,
    priors: Priors,
    rng: np.random.Generator,
) -> tuple[Array, NDArray[np.intp]]:
    """Half the starts from the screened intercept form, half drawn without it.

    The intercept form has K states instead of K^(p+1), so it is cheap to search; its optima are
    near those of the mean-adjusted form, but not all of them.
    """
    n_series, p, k = data.y.shape[0], layout.n_ar, layout.n_regimes
    n_rows = data.y.shape[1] - p
    lags = [data.y[:, None, p - lag : p - lag + n_rows] for lag in range(1, p + 1)]
    columns = np.concatenate([data.columns[:, :, p:], *lags], axis=1)
    plain = Layout(
        k,
        (*layout.columns, *(f"lag{lag}" for lag in range(1, p + 1))),
        layout.switching + (layout.switching_ar,) * p,
        switching_variance=layout.switching_variance,
        student=layout.student,
        switching_dof=layout.switching_dof,
        estimated_initial=layout.estimated_initial,
    )
    half = (n_starts + 1) // 2
    lagged = Observations(data.y[:, p:], columns, data.observed)
    theta, _ = _screen(plain, lagged, candidates, half, priors, None, rng)
    parts = plain.unpack(theta)
    coef, ar = parts.coef[..., :-p].copy(), np.clip(parts.coef[..., -p:], -0.9, 0.9)
    if "const" in layout.columns:
        level = np.clip(1.0 - ar.sum(axis=2), 0.1, None)
        coef[..., layout.columns.index("const")] /= level
    screened = layout.pack(
        Parts(parts.logits, coef, ar, parts.raw_variance, parts.raw_dof, parts.raw_initial)
    )
    drawn = layout.pack(candidate_starts(layout, data, n_starts - half, rng))
    theta = np.concatenate(
        [screened.reshape(n_series, half, -1), drawn.reshape(n_series, n_starts - half, -1)], axis=1
    )
    return theta.reshape(-1, layout.n_params), np.repeat(np.arange(n_series), n_starts)


def _estimate_varying(
    layout: Layout,
    data: Observations,
    n_starts: int,
    priors: Priors,
    initial: Array | None,
    rng: np.random.Generator,
) -> list[Estimate]:
    """Time-varying transitions: from the optima of the constant model, with random slopes."""
    constant = Layout(
        layout.n_regimes,
        layout.columns,
        layout.switching,
        layout.n_ar,
        layout.switching_ar,
        layout.switching_variance,
        layout.student,
        layout.switching_dof,
        0,
        layout.estimated_initial,
    )
    plain = Observations(data.y, data.columns, data.observed)
    if layout.n_ar:
        theta, series = _mean_adjusted_starts(constant, plain, n_starts, 2 * n_starts, priors, rng)
    else:
        theta, series = _screen(constant, plain, 2 * n_starts, n_starts, priors, initial, rng)
    objective = Objective(constant, plain, n_starts, priors=priors, initial=initial)
    begun = refine(objective, theta, series, tolerance=0.1, max_iterations=60)
    order = np.argsort(-begun.value, kind="stable")
    varying = Objective(layout, data, n_starts, priors=priors, initial=initial)
    theta = with_slopes(constant, layout, begun.theta[order], rng)
    series = np.zeros(theta.shape[0], np.intp)
    return _collect(varying, refine(varying, theta, series), series, 1)


def _collect(
    objective: Objective,
    optima: Optima,
    series: NDArray[np.intp],
    n_series: int,
) -> list[Estimate]:
    """Take the best starts of every series to the exact optimum, and choose."""
    value = np.where(np.isfinite(optima.value), optima.value, -np.inf)
    best = np.full(n_series, -np.inf)
    np.maximum.at(best, series, value)
    near = (value > best[series] - _WORTH) & ~optima.retired
    near |= value == best[series]
    rows = np.flatnonzero(near)
    found = polish(
        objective,
        optima.theta[rows],
        optima.value[rows],
        optima.gradient[rows],
        optima.inverse_hessian[rows],
        series[rows],
    )
    final = np.where(np.isfinite(found.value), found.value, -np.inf)
    value[rows] = final
    results = []
    for number in range(n_series):
        mine = np.flatnonzero(series[rows] == number)
        chosen = mine[final[mine].argmax()]
        starts = series == number
        results.append(
            Estimate(
                found.theta[chosen],
                float(final[chosen]),
                float(found.gain[chosen]),
                bool(found.gain[chosen] < LEFT_TO_GAIN),
                bool(found.flat[chosen]),
                value[starts],
                optima.retired[starts],
                found.information[chosen],
            )
        )
    return results
