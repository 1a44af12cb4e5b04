"""Simple models that learn from a stream, for slots to be measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError

__all__ = ["AdwinReset", "ExperienceReplay", "LastValue", "RecursiveLeastSquares"]

Array = NDArray[np.float64]


class RecursiveLeastSquares:
    r"""Least squares with exponential forgetting, in one pass.

    .. math:: \hat w_t = \arg\min_w \sum_{s \le t} \lambda^{t-s} (y_s - w'x_s)^2
              + \lambda^t |w|^2 / \delta

    Parameters
    ----------
    factor
        lambda in (0, 1]; 1 is ordinary (pooled) least squares
    delta
        prior variance of each coefficient, over the noise's
    fit_intercept
        add a constant

    Examples
    --------
    >>> from regimeslot.evaluation.continual_baselines import RecursiveLeastSquares
    >>> model = RecursiveLeastSquares(delta=1e6)
    >>> for x, y in [(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]:
    ...     model.learn_one([x], y)
    >>> round(model.predict_one([3.0]), 3)
    7.0
    """

    def __init__(
        self, factor: float = 1.0, *, delta: float = 100.0, fit_intercept: bool = True
    ) -> None:
        if not 0 < factor <= 1 or not delta > 0:
            raise InvalidInputError(
                f"expected factor in (0, 1] and delta above 0, got {factor!r} and {delta!r}"
            )
        self.factor = factor
        self.delta = delta
        self.fit_intercept = fit_intercept
        self.coef: Array | None = None
        self.covariance = np.empty((0, 0))

    def learn_one(self, x: ArrayLike, y: float) -> None:
        """Learn one row."""
        row = self._row(x)
        if self.coef is None:
            self.coef = np.zeros(len(row))
            self.covariance = self.delta * np.eye(len(row))
        gain = self.covariance @ row
        scale = 1.0 / (self.factor + row @ gain)
        self.coef = self.coef + gain * (scale * (y - row @ self.coef))
        covariance = (self.covariance - np.outer(gain, gain) * scale) / self.factor
        # Without this the recursion loses its symmetry, and then everything.
        self.covariance = 0.5 * (covariance + covariance.T)

    def predict_one(self, x: ArrayLike) -> float:
        """Mean of the target; 0 before any row."""
        return 0.0 if self.coef is None else float(self._row(x) @ self.coef)

    def _row(self, x: ArrayLike) -> Array:
        row = np.asarray(x, dtype=np.float64)
        return np.append(row, 1.0) if self.fit_intercept else row


class AdwinReset:
    """Least squares that starts afresh whenever ADWIN sees its errors change; needs river.

    Parameters
    ----------
    confidence
        ADWIN's delta: the smaller the fewer false alarms

    References
    ----------
    Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing.
    """

    def __init__(self, confidence: float = 0.002) -> None:
        from river.drift import ADWIN

        self.detector = ADWIN(delta=confidence)
        self.model = RecursiveLeastSquares()
        self.resets = 0

    def learn_one(self, x: ArrayLike, y: float) -> None:
        """Learn one row, after a reset if its error gives one."""
        self.detector.update(abs(y - self.model.predict_one(x)))
        if self.detector.drift_detected:
            self.model = RecursiveLeastSquares()
            self.resets += 1
        self.model.learn_one(x, y)

    def predict_one(self, x: ArrayLike) -> float:
        """Mean of the target; 0 before any row."""
        return self.model.predict_one(x)


class ExperienceReplay:
    """A linear model by stochastic gradients on each row and rows drawn from a reservoir.

    Parameters
    ----------
    capacity
        rows of the reservoir, a uniform sample of all rows so far
    replayed
        rows drawn from it with every new one
    learning_rate
        step on the mean gradient; features should be of order one
    random_state
        seed

    References
    ----------
    Rolnick, Ahuja, Schwarz, Lillicrap and Wayne (2019), Experience replay for continual learning.
    """

    def __init__(
        self,
        *,
        capacity: int = 500,
        replayed: int = 15,
        learning_rate: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.capacity = capacity
        self.replayed = replayed
        self.learning_rate = learning_rate
        self.rng = np.random.default_rng(random_state)
        self.coef: Array | None = None
        self.rows = np.empty((0, 0))
        self.targets = np.zeros(capacity)
        self.seen = 0

    def learn_one(self, x: ArrayLike, y: float) -> None:
        """Take a gradient step, and keep the row with the reservoir's probability."""
        row = np.append(np.asarray(x, dtype=np.float64), 1.0)
        if self.coef is None:
            self.coef = np.zeros(len(row))
            self.rows = np.zeros((self.capacity, len(row)))
        held = min(self.seen, self.capacity)
        drawn = self.rng.integers(held, size=self.replayed if held else 0)
        X = np.vstack([row, self.rows[drawn]])
        error = np.append(y, self.targets[drawn]) - X @ self.coef
        self.coef = self.coef + self.learning_rate * (error @ X) / len(X)
        place = self.seen if self.seen < self.capacity else int(self.rng.integers(self.seen + 1))
        if place < self.capacity:
            self.rows[place] = row
            self.targets[place] = y
        self.seen += 1

    def predict_one(self, x: ArrayLike) -> float:
        """Mean of the target; 0 before any row."""
        if self.coef is None:
            return 0.0
        return float(np.append(np.asarray(x, dtype=np.float64), 1.0) @ self.coef)


class LastValue:
    """Persistence: the next target is the last one.

    Examples
    --------
    >>> from regimeslot.evaluation.continual_baselines import LastValue
    >>> model = LastValue()
    >>> model.learn_one([0.0], 2.5)
    >>> model.predict_one([1.0])
    2.5
    """

    def __init__(self) -> None:
        self.last = 0.0

    def learn_one(self, x: ArrayLike, y: float) -> None:
        """Remember the target."""
        self.last = float(y)

    def predict_one(self, x: ArrayLike) -> float:
        """The target before; 0 before any row."""
        return self.last
