"""Laws with a memory: the regime is a Markov chain, so the past of y tells about the next row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, logm
from scipy.special import gammaln

from regimeslot.errors import InvalidInputError
from regimeslot.markov.scan import forward_filter
from regimeslot.synthetic.gates import autoregressive_features, two_laws
from regimeslot.synthetic.sample import (
    Array,
    SyntheticSample,
    check_counts,
    check_positive,
    gaussian_or_t,
)

__all__ = [
    "make_break",
    "make_explicit_durations",
    "make_hardy",
    "make_markov_regression",
    "make_recurring",
    "make_sticky",
    "make_variance_regimes",
]

_HARDY_MEAN = {2: [0.0123, -0.0157], 3: [0.0123, 0.0, -0.0157]}
_HARDY_SCALE = {2: [0.0347, 0.0778], 3: [0.0347, 0.05, 0.0778]}
_HARDY_STAY = {
    2: [[0.9629, 0.0371], [0.2101, 0.7899]],
    3: [[0.9629, 0.0185, 0.0186], [0.0618, 0.8764, 0.0618], [0.1051, 0.1050, 0.7899]],
}
_PART_OF_MONTH = {"monthly": 1.0, "weekly": 5 / 20, "daily": 1 / 20}


def make_markov_regression(
    n: int = 6_000, *, stay: tuple[float, float] = (0.98, 0.95), random_state: int = 0
) -> SyntheticSample:
    """Two linear laws on three AR(1) features; the regime is a Markov chain (Hamilton 1989).

    Parameters
    ----------
    n
        rows
    stay
        probability of staying in each regime
    random_state
        seed
    """
    check_counts(n=n)
    transition = _stay_matrix(stay)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    coef, intercept, scale = two_laws()
    parameters = {"coef": coef, "intercept": intercept, "scale": scale}
    means = X @ coef.T + intercept
    return _chain("markov-regression", X, means, scale, transition, parameters, rng, random_state)


def make_sticky(n: int = 6_000, *, pull: float = 2.5, random_state: int = 0) -> SyntheticSample:
    r"""Gate and memory together: transition probabilities that depend on a feature.

    .. math:: P_t(i, 1) = \mathrm{softmax}(A_{i\cdot} + (0, \gamma x_{t2}))_1

    Parameters
    ----------
    n
        rows
    pull
        gamma; 0 leaves the chain alone
    random_state
        seed
    """
    check_counts(n=n)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    scores = np.array([[2.0, -2.0], [-1.5, 1.5]])[:, :, None] + np.zeros(n)
    scores[:, 1] += pull * X[:, 2]
    transition = np.exp(scores - scores.max(1, keepdims=True))
    transition /= transition.sum(1, keepdims=True)
    coef, intercept, scale = two_laws()
    parameters = {"coef": coef, "intercept": intercept, "scale": scale, "pull": pull}
    means = X @ coef.T + intercept
    return _chain("sticky", X, means, scale, transition, parameters, rng, random_state)


def make_hardy(
    n: int = 5_000,
    *,
    n_regimes: int = 2,
    frequency: str = "daily",
    dof: float = np.inf,
    random_state: int = 0,
) -> SyntheticSample:
    r"""Log-returns of Hardy's regime-switching lognormal model of the S&P 500 (2001).

    The monthly chain P, means and variances are brought to a part s of a month as
    :math:`\exp(s \log P)`, :math:`s \mu` and :math:`s \sigma^2`.

    Parameters
    ----------
    n
        rows
    n_regimes
        2 or 3
    frequency
        ``"daily"`` (1/20 month), ``"weekly"`` (5/20) or ``"monthly"``
    dof
        degrees of freedom of the noise, above 2; the standard deviation stays Hardy's
    random_state
        seed

    References
    ----------
    Hardy (2001), A regime-switching model of long-term stock returns, North American Actuarial
    Journal 5(2).
    """
    check_counts(n=n)
    if n_regimes not in _HARDY_MEAN:
        raise InvalidInputError(f"expected n_regimes to be 2 or 3, got {n_regimes!r}")
    if frequency not in _PART_OF_MONTH:
        raise InvalidInputError(
            f"expected frequency to be one of {', '.join(_PART_OF_MONTH)}, got {frequency!r}"
        )
    if not dof > 2:
        raise InvalidInputError(f"expected dof above 2, got {dof!r}: the variance must exist")
    part = _PART_OF_MONTH[frequency]
    monthly = np.array(_HARDY_STAY[n_regimes])
    transition = np.real(expm(part * logm(monthly)))
    transition = np.clip(transition, 0, None)
    transition /= transition.sum(1, keepdims=True)
    mean = part * np.array(_HARDY_MEAN[n_regimes])
    std = np.sqrt(part) * np.array(_HARDY_SCALE[n_regimes])
    scale = std if np.isinf(dof) else std * np.sqrt((dof - 2) / dof)
    rng = np.random.default_rng(random_state)
    parameters = {"mean": mean, "std": std, "frequency": frequency}
    return _chain(
        f"hardy-{n_regimes}-{frequency}",
        np.empty((n, 0)),
        np.tile(mean, (n, 1)),
        scale,
        transition,
        parameters,
        rng,
        random_state,
        dof=dof,
    )


def make_variance_regimes(
    n: int = 6_000,
    *,
    stay: tuple[float, float] = (0.98, 0.95),
    ratio: float = 2.5,
    random_state: int = 0,
) -> SyntheticSample:
    """One linear law whose noise alone switches: nothing to gain for a mean forecast.

    Parameters
    ----------
    n
        rows
    stay
        probability of staying in each regime
    ratio
        scale of the loud regime over that of the quiet one
    random_state
        seed
    """
    check_counts(n=n)
    check_positive(ratio=ratio)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    coef = np.array([0.5, -0.3, 0.0])
    scale = np.array([0.6, 0.6 * ratio])
    parameters = {"coef": coef, "scale": scale}
    means = np.tile((X @ coef)[:, None], (1, 2))
    return _chain(
        "variance-regimes", X, means, scale, _stay_matrix(stay), parameters, rng, random_state
    )


def make_explicit_durations(
    n: int = 6_000,
    *,
    mean_duration: tuple[float, float] = (60.0, 25.0),
    stages: int = 4,
    random_state: int = 0,
) -> SyntheticSample:
    """Two laws whose spells have a typical length: negative binomial, not geometric.

    A spell is a sum of ``stages`` geometric stages, so the filter over (regime, stage) is exact.

    Parameters
    ----------
    n
        rows
    mean_duration
        mean length of a spell in each regime, at least ``stages``
    stages
        1 is the Markov chain; more make lengths more regular
    random_state
        seed
    """
    check_counts(n=n, stages=stages)
    leave = stages / np.asarray(mean_duration, dtype=float)
    if leave.shape != (2,) or np.any(leave > 1) or np.any(leave <= 0):
        raise InvalidInputError(
            f"expected two mean durations of at least stages={stages}, got {mean_duration!r}"
        )
    S = 2 * stages
    transition = np.zeros((S, S))
    for state in range(S):
        transition[state, state] = 1 - leave[state // stages]
        transition[state, (state + 1) % S] += leave[state // stages]
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    coef, intercept, scale = two_laws()
    parameters = {"coef": coef, "intercept": intercept, "scale": scale, "stages": stages}
    means = X @ coef.T + intercept
    owner = np.repeat(np.arange(2), stages)
    return _chain(
        "explicit-durations",
        X,
        means,
        scale,
        transition,
        parameters,
        rng,
        random_state,
        owner=owner,
    )


def make_break(n: int = 3_000, *, at: float = 0.5, random_state: int = 0) -> SyntheticSample:
    """Two laws and one change, once and for all; the filter knows both but not the date.

    Parameters
    ----------
    n
        rows
    at
        where the change comes, as a share of the rows
    random_state
        seed
    """
    check_counts(n=n)
    if not 0 < at < 1:
        raise InvalidInputError(f"expected at between 0 and 1, got {at!r}")
    transition = np.array([[1 - 1 / n, 1 / n], [0.0, 1.0]])
    regimes = (np.arange(n) >= round(at * n)).astype(np.intp)
    return _scheduled("break", regimes, transition, np.array([1.0, 0.0]), random_state)


def make_recurring(
    segment: int = 300, *, order: str = "ABACA", random_state: int = 0
) -> SyntheticSample:
    """Laws that come back: segments A-B-A-C-A, for learning without forgetting.

    The filter knows the laws and the mean length of a segment, not the schedule.

    Parameters
    ----------
    segment
        rows of each segment
    order
        one letter per segment
    random_state
        seed
    """
    check_counts(segment=segment)
    letters = sorted(set(order))
    if len(letters) < 2 or not order.isalpha():
        raise InvalidInputError(
            f"expected order to name two or more laws by letters, got {order!r}"
        )
    K = len(letters)
    regimes = np.repeat([letters.index(letter) for letter in order], segment)
    change = 1 / segment / (K - 1)
    transition = np.full((K, K), change) + (1 - K * change) * np.eye(K)
    return _scheduled("recurring", regimes, transition, np.full(K, 1 / K), random_state)


def _scheduled(
    name: str, regimes: NDArray[np.intp], transition: Array, initial: Array, seed: int
) -> SyntheticSample:
    rng = np.random.default_rng(seed)
    n, K = len(regimes), len(transition)
    X = rng.standard_normal((n, 5))
    coef = rng.standard_normal((K, 5))
    parameters = {"coef": coef, "noise": 0.5}
    scale = np.full(K, 0.5)
    return _chain(
        name,
        X,
        X @ coef.T,
        scale,
        transition,
        parameters,
        rng,
        seed,
        regimes=regimes,
        initial=initial,
    )


def _chain(
    name: str,
    X: Array,
    means: Array,
    scale: Array,
    transition: Array,
    parameters: Mapping[str, object],
    rng: np.random.Generator,
    seed: int,
    *,
    dof: float = np.inf,
    owner: NDArray[np.intp] | None = None,
    regimes: NDArray[np.intp] | None = None,
    initial: Array | None = None,
) -> SyntheticSample:
    """Draw regimes (unless given) and y, and run the filter that knows the parameters.

    ``owner`` maps each state of the chain to the regime it belongs to, where they differ.
    """
    n = len(X)
    K = means.shape[1]
    owner = np.arange(K) if owner is None else owner
    initial = _stationary(transition) if initial is None else initial
    if regimes is None:
        regimes = owner[_draw_states(transition, initial, n, rng)]
    scales = np.tile(scale, (n, 1))
    rows = np.arange(n)
    y = means[rows, regimes] + scales[rows, regimes] * gaussian_or_t(rng, n, dof)
    density = _log_density((y[:, None] - means) / scales, dof) - np.log(scales)
    states = forward_filter(density.T[owner], transition, initial).predicted
    predicted = np.stack([states[owner == k].sum(0) for k in range(K)], axis=1)
    return SyntheticSample(
        name=name,
        X=X,
        y=y,
        regimes=regimes,
        parameters={**parameters, "transition": transition, "initial": initial, "dof": dof},
        seed=seed,
        means=means,
        scales=scales,
        predicted_probs=predicted / predicted.sum(1, keepdims=True),
        dof=dof,
    )


def _draw_states(
    transition: Array, initial: Array, n: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    cumulative = transition.cumsum(1)
    uniform = rng.random(n)
    last = len(initial) - 1
    states = np.empty(n, dtype=np.intp)
    states[0] = min(int(np.searchsorted(initial.cumsum(), uniform[0], side="right")), last)
    for t in range(1, n):
        row = cumulative[states[t - 1]] if transition.ndim == 2 else cumulative[states[t - 1], :, t]
        states[t] = min(int(np.searchsorted(row, uniform[t], side="right")), last)
    return states


def _stationary(transition: Array) -> Array:
    """Long-run distribution; of the mean transition matrix where it varies."""
    P = transition if transition.ndim == 2 else transition.mean(2)
    K = len(P)
    A = np.vstack([P.T - np.eye(K), np.ones(K)])
    solution = np.linalg.lstsq(A, np.append(np.zeros(K), 1.0), rcond=None)[0]
    return np.clip(solution, 0, None) / np.clip(solution, 0, None).sum()


def _log_density(u: Array, dof: float) -> Array:
    if np.isinf(dof):
        return np.asarray(-0.5 * (u**2 + np.log(2 * np.pi)))
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(dof * np.pi)
    return np.asarray(constant - (dof + 1) / 2 * np.log1p(u**2 / dof))


def _stay_matrix(stay: tuple[float, float]) -> Array:
    values = np.asarray(stay, dtype=float)
    if values.shape != (2,) or np.any(values <= 0) or np.any(values >= 1):
        raise InvalidInputError(f"expected two staying probabilities in (0, 1), got {stay!r}")
    return np.array([[values[0], 1 - values[0]], [1 - values[1], values[1]]])
