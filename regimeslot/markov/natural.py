"""Parameters in the user's units, their names and their order.

The map from standardised to natural parameters is linear in the coefficients and exact; names and
order are those of statsmodels, so that estimates of both can be laid side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.layout import FAR, VARIANCE_FLOOR, ZERO_LOGIT, Layout, Parts, raw_from_dof

__all__ = [
    "Natural",
    "Scaling",
    "from_natural",
    "from_vector",
    "parameter_names",
    "to_natural",
    "to_vector",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """Affine maps between the user's units and the standardised ones.

    Attributes
    ----------
    centre, scale : float
        Of y: ``y = centre + scale * standardised``.
    column_centre, column_scale : (J,)
    transition_centre, transition_scale : (Q,)
    """

    centre: float
    scale: float
    column_centre: Array
    column_scale: Array
    transition_centre: Array
    transition_scale: Array


@dataclass(frozen=True)
class Natural:
    """Parameters of one model in the user's units; K regimes first.

    Attributes
    ----------
    logits : (K, K, Q)
        log P(i -> j) / P(i -> i) by transition regressor; Q = 1 when constant.
    coef : (K, J)
    ar : (K, p)
    sigma2 : (K,)
        Squared scale: the variance of Gaussian regimes.
    dof : (K,) or empty
    initial : (K,) or empty
        Estimated initial distribution.
    """

    logits: Array
    coef: Array
    ar: Array
    sigma2: Array
    dof: Array
    initial: Array

    @property
    def transition(self) -> Array:
        """(K, K), at transition regressors of 1, 0, ..., 0 when they vary."""
        weights = np.exp(np.clip(self.logits[:, :, 0], ZERO_LOGIT, -ZERO_LOGIT))
        return weights / weights.sum(axis=1, keepdims=True)


def to_natural(parts: Parts, layout: Layout, scaling: Scaling) -> list[Natural]:
    """Standardised :class:`Parts` of S models to the user's units."""
    coef = parts.coef * scaling.scale / scaling.column_scale
    if "const" in layout.columns:
        at = layout.columns.index("const")
        coef[..., at] += scaling.centre - (coef * scaling.column_centre).sum(axis=-1)
    logits = parts.logits
    if layout.n_tvtp:
        logits = logits / scaling.transition_scale
        logits[..., 0] -= (logits * scaling.transition_centre).sum(axis=-1)
    sigma2 = parts.variance * scaling.scale**2
    dof = parts.dof if layout.student else np.empty((coef.shape[0], 0))
    initial = parts.raw_initial
    if layout.estimated_initial:
        initial = np.exp(initial - initial.max(axis=1, keepdims=True))
        initial = initial / initial.sum(axis=1, keepdims=True)
    return [
        Natural(logits[s], coef[s], parts.ar[s], sigma2[s], dof[s], initial[s])
        for s in range(coef.shape[0])
    ]


def from_natural(natural: Natural, layout: Layout, scaling: Scaling) -> Parts:
    """The inverse of :func:`to_natural` for one model."""
    coef = natural.coef.copy()
    if "const" in layout.columns:
        at = layout.columns.index("const")
        coef[:, at] += (coef * scaling.column_centre).sum(axis=1) - scaling.centre
    coef = coef * scaling.column_scale / scaling.scale
    logits = natural.logits.copy()
    if layout.n_tvtp:
        logits[..., 0] += (logits * scaling.transition_centre).sum(axis=-1)
        logits = logits * scaling.transition_scale
    least = VARIANCE_FLOOR * np.exp(-FAR)
    variance = np.maximum(natural.sigma2 / scaling.scale**2 - VARIANCE_FLOOR, least)
    initial = natural.initial
    if initial.size:
        initial = np.log(np.maximum(initial, 1e-300))
        initial = initial - initial[-1]
    dof = raw_from_dof(natural.dof)
    return Parts(
        logits[None], coef[None], natural.ar[None], np.log(variance)[None], dof[None], initial[None]
    )


def parameter_names(layout: Layout) -> tuple[str, ...]:
    """Names in the order of statsmodels: transitions, coefficients, sigma2, dof, lags."""
    k = range(layout.n_regimes)
    names = []
    for j in range(layout.n_regimes - 1):
        if layout.n_tvtp:
            names += [f"p[{i}->{j}].tvtp{q}" for q in range(layout.n_tvtp) for i in k]
        else:
            names += [f"p[{i}->{j}]" for i in k]

    def per_regime(name: str, switches: bool) -> list[str]:
        return [f"{name}[{i}]" for i in k] if switches else [name]

    lags: list[str] = []
    for name, switches in zip(layout.columns, layout.switching, strict=True):
        (lags if name.startswith("ar.L") else names).extend(per_regime(name, switches))
    names += per_regime("sigma2", layout.switching_variance)
    if layout.student:
        names += per_regime("dof", layout.switching_dof)
    for lag in range(layout.n_ar):
        lags += per_regime(f"ar.L{lag + 1}", layout.switching_ar)
    names += lags
    if layout.estimated_initial:
        names += [f"initial[{i}]" for i in range(layout.n_regimes - 1)]
    return tuple(names)


def to_vector(natural: Natural, layout: Layout) -> Array:
    """Values in the order of :func:`parameter_names`."""
    k = layout.n_regimes
    values: list[float] = []
    if layout.n_tvtp:
        relative = natural.logits - natural.logits[:, -1:]
        for j in range(k - 1):
            values += [relative[i, j, q] for q in range(layout.n_tvtp) for i in range(k)]
    else:
        values += natural.transition[:, : k - 1].T.ravel().tolist()

    def per_regime(array: Array, switches: bool) -> list[float]:
        return array.tolist() if switches else [float(array[0])]

    lags: list[float] = []
    for j, (name, switches) in enumerate(zip(layout.columns, layout.switching, strict=True)):
        (lags if name.startswith("ar.L") else values).extend(
            per_regime(natural.coef[:, j], switches)
        )
    values += per_regime(natural.sigma2, layout.switching_variance)
    if layout.student:
        values += per_regime(natural.dof, layout.switching_dof)
    for lag in range(layout.n_ar):
        lags += per_regime(natural.ar[:, lag], layout.switching_ar)
    values += lags
    if layout.estimated_initial:
        values += natural.initial[:-1].tolist()
    return np.array(values, dtype=float)


def from_vector(values: Array, layout: Layout) -> Natural:
    """The inverse of :func:`to_vector`."""
    k, q = layout.n_regimes, max(1, layout.n_tvtp)
    left = list(values)

    def take(switches: bool) -> Array:
        if switches:
            return np.array([left.pop(0) for _ in range(k)])
        return np.full(k, left.pop(0))

    logits = np.zeros((k, k, q))
    if layout.n_tvtp:
        for j in range(k - 1):
            for r in range(q):
                logits[:, j, r] = take(True)
    else:
        matrix = np.empty((k, k))
        for j in range(k - 1):
            matrix[:, j] = take(True)
        matrix[:, -1] = 1.0 - matrix[:, :-1].sum(axis=1)
        logits[..., 0] = np.log(np.maximum(matrix, 1e-300))
    diagonal = logits[np.arange(k), np.arange(k)].copy()
    logits = logits - diagonal[:, None]
    if not layout.n_tvtp:
        logits = np.clip(logits, ZERO_LOGIT, -ZERO_LOGIT)
    coef = np.empty((k, len(layout.columns)))
    lagged = [j for j, name in enumerate(layout.columns) if name.startswith("ar.L")]
    for j, switches in enumerate(layout.switching):
        if j not in lagged:
            coef[:, j] = take(switches)
    sigma2 = take(layout.switching_variance)
    dof = take(layout.switching_dof) if layout.student else np.empty(0)
    for j in lagged:
        coef[:, j] = take(layout.switching[j])
    ar = np.array([take(layout.switching_ar) for _ in range(layout.n_ar)]).T.reshape(k, -1)
    initial = np.empty(0)
    if layout.estimated_initial:
        head = np.array([left.pop(0) for _ in range(k - 1)])
        initial = np.append(head, 1.0 - head.sum())
    return Natural(logits, coef, ar, sigma2, dof, initial)
