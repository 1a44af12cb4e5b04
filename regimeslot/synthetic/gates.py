"""Laws whose regime is chosen by the row's own features; the past of y tells nothing more."""

from __future__ import annotations

import numpy as np

from regimeslot.errors import InvalidInputError
from regimeslot.synthetic.sample import (
    Array,
    SyntheticSample,
    check_counts,
    check_positive,
    gaussian_or_t,
)

__all__ = [
    "make_argmax_regimes",
    "make_no_regime",
    "make_smooth_transition",
    "make_soft_gate",
    "make_two_regimes",
]


def make_two_regimes(
    n: int = 11_000, *, noise: float = 0.0, n_irrelevant: int = 0, random_state: int = 0
) -> SyntheticSample:
    r"""Two linear laws chosen by the sign of x0 - x1: the experiment this project began with.

    .. math:: y = x_0 - x_1 \text{ if } x_0 \le x_1, \text{ else } -(x_0 - x_1)

    Parameters
    ----------
    n
        rows; the first 10,000 were for training, the last 1,000 for validation
    noise
        standard deviation of Gaussian noise on y
    n_irrelevant
        further standard normal features that matter to nothing
    random_state
        seed

    Examples
    --------
    >>> from regimeslot.synthetic import make_two_regimes
    >>> sample = make_two_regimes(5)
    >>> bool((sample.y <= 0).all())
    True
    """
    check_counts(n=n)
    d = 2 + _irrelevant(n_irrelevant)
    _check_noise(noise)
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n, d))
    coef = np.zeros((2, d))
    coef[:, :2] = [[1.0, -1.0], [-1.0, 1.0]]
    gate = np.zeros((2, d))
    gate[1, :2] = [1.0, -1.0]  # regime 1 where x0 > x1
    return _argmax("two-regimes", X, coef, gate, noise, np.inf, rng, random_state)


def make_argmax_regimes(
    n: int = 11_000,
    *,
    n_regimes: int = 3,
    n_features: int = 10,
    noise: float = 0.1,
    n_irrelevant: int = 0,
    dof: float = np.inf,
    random_state: int = 0,
) -> SyntheticSample:
    r"""Random linear laws, the one with the largest gate score :math:`v_k'x` in force.

    Parameters
    ----------
    n, n_regimes, n_features
        sizes; features, coefficients and gates are standard normal
    noise
        scale of the noise on y
    n_irrelevant
        further features that enter neither laws nor gate
    dof
        degrees of freedom of the noise
    random_state
        seed

    Examples
    --------
    >>> from regimeslot.synthetic import make_argmax_regimes
    >>> sample = make_argmax_regimes(100, n_regimes=4, n_irrelevant=8)
    >>> sample.X.shape, sample.n_regimes
    ((100, 18), 4)
    """
    check_counts(n=n, n_regimes=n_regimes, n_features=n_features)
    check_positive(dof=dof)
    _check_noise(noise)
    d = n_features + _irrelevant(n_irrelevant)
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n, d))
    coef, gate = np.zeros((2, n_regimes, d))
    coef[:, :n_features] = rng.standard_normal((n_regimes, n_features))
    gate[:, :n_features] = rng.standard_normal((n_regimes, n_features))
    return _argmax("argmax-regimes", X, coef, gate, noise, dof, rng, random_state)


def _argmax(
    name: str,
    X: Array,
    coef: Array,
    gate: Array,
    noise: float,
    dof: float,
    rng: np.random.Generator,
    seed: int,
) -> SyntheticSample:
    regimes = (X @ gate.T).argmax(1)
    means = X @ coef.T
    rows = np.arange(len(X))
    y = means[rows, regimes]
    if noise > 0:
        y = y + noise * gaussian_or_t(rng, len(X), dof)
    return SyntheticSample(
        name=name,
        X=X,
        y=y,
        regimes=regimes,
        parameters={"coef": coef, "gate": gate, "noise": noise, "dof": dof},
        seed=seed,
        means=means,
        # A noiseless law still needs a density; this one is a spike.
        scales=np.full(means.shape, max(noise, 1e-12)),
        predicted_probs=np.eye(len(coef))[regimes],
        dof=dof,
    )


def make_soft_gate(
    n: int = 6_000, *, sharpness: float = 3.0, random_state: int = 0
) -> SyntheticSample:
    r"""Two laws; the regime is drawn afresh each row with :math:`P(1) = \mathrm{logit}^{-1}`.

    .. math:: P(z_t = 1 \mid x_t) = 1 / (1 + \exp(-(\gamma x_{t2} - 0.5)))

    The features are independent AR(1) series; the laws are those of :func:`make_sticky`.

    Parameters
    ----------
    n
        rows
    sharpness
        gamma
    random_state
        seed

    Examples
    --------
    >>> from regimeslot.synthetic import make_soft_gate
    >>> make_soft_gate(100).predicted_probs.shape
    (100, 2)
    """
    check_counts(n=n)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, 3)
    share = 1 / (1 + np.exp(-(sharpness * X[:, 2] - 0.5)))
    regimes = (rng.random(n) < share).astype(np.intp)
    coef, intercept, scale = two_laws()
    means = X @ coef.T + intercept
    scales = np.tile(scale, (n, 1))
    rows = np.arange(n)
    y = means[rows, regimes] + scales[rows, regimes] * rng.standard_normal(n)
    return SyntheticSample(
        name="soft-gate",
        X=X,
        y=y,
        regimes=regimes,
        parameters={
            "coef": coef,
            "intercept": intercept,
            "scale": scale,
            "sharpness": sharpness,
        },
        seed=random_state,
        means=means,
        scales=scales,
        predicted_probs=np.column_stack([1 - share, share]),
    )


def make_smooth_transition(
    n: int = 3_000,
    *,
    n_features: int = 3,
    sharpness: float = 5.0,
    noise: float = 0.5,
    random_state: int = 0,
) -> SyntheticSample:
    r"""Smooth transition regression (Terasvirta 1994): the mean slides between two laws.

    .. math:: y = (1 - G) b_0'x + G b_1'x + \varepsilon, \qquad G = 1 / (1 + \exp(-\gamma x_0))

    There is one Gaussian per row, so both oracles agree; ``regimes`` names the law with the larger
    share, and ``parameters["share"]`` is G.

    Parameters
    ----------
    n, n_features
        sizes
    sharpness
        gamma: 1 is nearly linear, 50 nearly a threshold
    noise
        standard deviation
    random_state
        seed

    Examples
    --------
    >>> from regimeslot.synthetic import make_smooth_transition
    >>> sample = make_smooth_transition(100, sharpness=1.0)
    >>> float(sample.parameters['share'].max()) < 1
    True
    """
    check_counts(n=n, n_features=n_features)
    check_positive(sharpness=sharpness, noise=noise)
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n, n_features))
    coef = rng.standard_normal((2, n_features))
    share = 1 / (1 + np.exp(-sharpness * X[:, 0]))
    laws = X @ coef.T
    mean = (1 - share) * laws[:, 0] + share * laws[:, 1]
    return SyntheticSample(
        name="smooth-transition",
        X=X,
        y=mean + noise * rng.standard_normal(n),
        regimes=(share > 0.5).astype(np.intp),
        parameters={"coef": coef, "sharpness": sharpness, "noise": noise, "share": share},
        seed=random_state,
        means=np.column_stack([mean, mean]),
        scales=np.full((n, 2), noise),
        predicted_probs=np.column_stack([1 - share, share]),
    )


def make_no_regime(
    n: int = 6_000,
    *,
    n_features: int = 3,
    noise: float = 1.0,
    dof: float = np.inf,
    random_state: int = 0,
) -> SyntheticSample:
    """The control: one linear law. A model that finds regimes here has found noise.

    Parameters
    ----------
    n, n_features
        sizes
    noise
        scale of the noise; the coefficients are 0.5 times standard normal
    dof
        degrees of freedom of the noise
    random_state
        seed

    Examples
    --------
    >>> from regimeslot.synthetic import make_no_regime
    >>> make_no_regime(100).n_regimes
    1
    """
    check_counts(n=n, n_features=n_features)
    check_positive(noise=noise, dof=dof)
    rng = np.random.default_rng(random_state)
    X = autoregressive_features(rng, n, n_features)
    coef = 0.5 * rng.standard_normal((1, n_features))
    means = X @ coef.T
    return SyntheticSample(
        name="no-regime",
        X=X,
        y=means[:, 0] + noise * gaussian_or_t(rng, n, dof),
        regimes=np.zeros(n, dtype=np.intp),
        parameters={"coef": coef, "noise": noise, "dof": dof},
        seed=random_state,
        means=means,
        scales=np.full((n, 1), noise),
        predicted_probs=np.ones((n, 1)),
        dof=dof,
    )


def autoregressive_features(rng: np.random.Generator, n: int, d: int) -> Array:
    """Independent AR(1) series with coefficient 0.9 and unit variance, started at zero."""
    X = np.zeros((n, d))
    shocks = np.sqrt(1 - 0.81) * rng.standard_normal((n, d))
    for t in range(1, n):
        X[t] = 0.9 * X[t - 1] + shocks[t]
    return X


def two_laws() -> tuple[Array, Array, Array]:
    """Coefficients, intercepts and scales that the three-feature regression laws share."""
    coef = np.array([[0.5, 0.0, 0.0], [-0.5, 0.4, 0.0]])
    return coef, np.array([0.1, -0.2]), np.array([0.6, 1.4])


def _irrelevant(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InvalidInputError(f"expected n_irrelevant to be an integer >= 0, got {count!r}")
    return int(count)


def _check_noise(noise: float) -> None:
    if not 0 <= noise < np.inf:
        raise InvalidInputError(f"expected noise to be finite and >= 0, got {noise!r}")
