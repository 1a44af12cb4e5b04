"""Laws with a memory: the regime is a Markov chain, so the past of y tells about the next row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, logm

from regimeslot.errors import InvalidInputError
from regimeslot.synthetic.chain_sample import chain_sample
from regimeslot.synthetic.gates import autoregressive_features, two_laws
from regimeslot.synthetic.sample import (
    Array,
    SyntheticSample,
    check_counts,
    check_positive,
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

    Examples
    --------
    >>> from regimeslot.synthetic import make_markov_regression
    >>> sample = make_markov_regression(200)
    >>> sample.parameters['transition'].round(2).tolist()
    [[0.98, 0.02], [0.05, 0.95]]
    """
    check_counts(n=n)
    transition = _stay_matrix(stay)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    coef, intercept, scale = two_laws()
    parameters = {"coef": coef, "intercept": intercept, "scale": scale}
    means = X @ coef.T + intercept
    return chain_sample(
        "markov-regression", X, means, scale, transition, parameters, rng, random_state
    )


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

    Examples
    --------
    >>> from regimeslot.synthetic import make_sticky
    >>> make_sticky(200).parameters['transition'].shape
    (2, 2, 200)
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
    return chain_sample("sticky", X, means, scale, transition, parameters, rng, random_state)


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

    Examples
    --------
    >>> from regimeslot.synthetic import make_hardy
    >>> sample = make_hardy(250, n_regimes=3, frequency='weekly')
    >>> sample.to_prices().shape
    (251, 1)
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
    return chain_sample(
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

    Examples
    --------
    >>> from regimeslot.synthetic import make_variance_regimes
    >>> sample = make_variance_regimes(200)
    >>> bool((sample.means[:, 0] == sample.means[:, 1]).all())
    True
    """
    check_counts(n=n)
    check_positive(ratio=ratio)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    coef = np.array([0.5, -0.3, 0.0])
    scale = np.array([0.6, 0.6 * ratio])
    parameters = {"coef": coef, "scale": scale}
    means = np.tile((X @ coef)[:, None], (1, 2))
    return chain_sample(
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

    Examples
    --------
    >>> from regimeslot.synthetic import make_explicit_durations
    >>> make_explicit_durations(200, stages=2).n_regimes
    2
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
    return chain_sample(
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

    Examples
    --------
    >>> from regimeslot.synthetic import make_break
    >>> make_break(100, at=0.3).regimes.sum().item()
    70
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

    Examples
    --------
    >>> from regimeslot.synthetic import make_recurring
    >>> make_recurring(2).regimes.tolist()
    [0, 0, 1, 1, 0, 0, 2, 2, 0, 0]
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
    return chain_sample(
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


def _stay_matrix(stay: tuple[float, float]) -> Array:
    values = np.asarray(stay, dtype=float)
    if values.shape != (2,) or np.any(values <= 0) or np.any(values >= 1):
        raise InvalidInputError(f"expected two staying probabilities in (0, 1), got {stay!r}")
    return np.array([[values[0], 1 - values[0]], [1 - values[1], values[1]]])
