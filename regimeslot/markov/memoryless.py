"""The control of a Markov-switching model: the same regimes drawn anew in every row.

Only the chain goes: emissions, priors and the likelihood are those of the model that it controls,
so what the two differ by in a forecast is memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.markov.estimate import Estimate, first_inverse_hessian
from regimeslot.markov.finish import LEFT_TO_GAIN
from regimeslot.markov.layout import Layout
from regimeslot.markov.natural import from_natural, from_vector
from regimeslot.markov.objective import Objective
from regimeslot.markov.result import MarkovSwitchingResult
from regimeslot.markov.starts import candidate_starts
from regimeslot.markov.switching import MarkovSwitching
from regimeslot.solvers.batched_bfgs import maximise

__all__ = ["fit_without_memory"]

Array = NDArray[np.float64]

_ITERATIONS = 300


def fit_without_memory(
    model: MarkovSwitching,
    y: object,
    *,
    start: Mapping[str, float] | None = None,
) -> MarkovSwitchingResult:
    """Maximum (penalised) likelihood with a transition matrix whose rows are all the same.

    ``P(i -> j) = w_j``: a mixture with constant weights w. It is the specification of ``model``
    with ``(K - 1)^2`` restrictions, so its likelihood is at most that of ``model.fit(y)``.

    Parameters
    ----------
    model : MarkovSwitching
        With lags as ``form="intercept"`` only, and a stationary start.
    y : (T,) Series or array
    start : mapping of parameters, optional
        Refit from here alone.

    Returns
    -------
    MarkovSwitchingResult

    Raises
    ------
    InvalidInputError
        For the mean-adjusted form, whose regimes of past rows are memory, or another start.

    References
    ----------
    McLachlan, G. J. and Peel, D. (2000). Finite Mixture Models. Wiley.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.where(rng.random(500) < 0.7, 1.0, 4.0) * rng.standard_normal(500)
    >>> fitted = fit_without_memory(MarkovSwitching(2, switching_variance=True, random_state=0), y)
    >>> bool(np.allclose(fitted.transition[0], fitted.transition[1]))
    True
    """
    if model.order and model.form == "mean":
        raise InvalidInputError(
            'without memory the regime of a past row cannot matter: use form="intercept"'
        )
    if not isinstance(model.initial, str) or model.initial != "stationary":
        raise InvalidInputError(f'expected initial="stationary", got {model.initial!r}')
    design, index = model._design(y, None, None)
    layout, scaling = design.layout, design.scaling()
    data = design.observations(scaling)
    if start is None:
        rng = np.random.default_rng(model.random_state)
        theta = layout.pack(candidate_starts(layout, data, model.n_starts, rng))
    else:
        vector = from_vector(model._vector(start, layout), layout)
        theta = layout.pack(from_natural(vector, layout, scaling))
    objective = Objective(layout, data, len(theta), priors=model._priors())
    free = _free_parameters(layout)

    def value_and_gradient(trial: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        value, gradient = objective.value_and_gradient(trial @ free.T, series[rows])
        return value, gradient @ free

    series = np.zeros(len(theta), np.intp)
    begin = np.asarray(np.linalg.lstsq(free, theta.T, rcond=None)[0].T, dtype=np.float64)
    information = np.linalg.inv(first_inverse_hessian(objective, begin @ free.T, series))
    inverse = np.asarray(np.linalg.inv(free.T @ information @ free), dtype=np.float64)
    found = maximise(
        value_and_gradient,
        begin,
        inverse,
        groups=series,
        max_iterations=_ITERATIONS,
    )
    best = int(np.argmax(np.where(np.isfinite(found.value), found.value, -np.inf)))
    estimate = Estimate(
        free @ found.theta[best],
        float(found.value[best]),
        float(found.gain[best]),
        bool(found.gain[best] < LEFT_TO_GAIN),
        bool(found.flat[best]),
        found.value,
        found.retired,
        np.empty(0),
    )
    result = model._result(estimate, design, scaling, index)
    result.warn()
    return result


def _free_parameters(layout: Layout) -> Array:
    """Matrix (n, m) from the free parameters to all of them.

    The logits are log P(i -> j) / P(i -> i), here a_j - a_i with a_0 = 0.
    """
    k, logits = layout.n_regimes, layout.blocks["logits"]
    moves = np.argwhere(layout.off_diagonal)
    weights = np.eye(k)[moves[:, 1]] - np.eye(k)[moves[:, 0]]
    others = layout.n_params - (logits.stop - logits.start)
    free = np.zeros((layout.n_params, k - 1 + others))
    free[logits, : k - 1] = weights[:, 1:]
    free[logits.stop :, k - 1 :] = np.eye(others)
    return free
