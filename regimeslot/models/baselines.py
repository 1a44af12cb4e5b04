"""Baselines that forecast a location and leave the rest to one constant distribution."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regimeslot.features import OFFSET, RETURN
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Features, Forecaster, check_rows, check_target
from regimeslot.models.residuals import fit_residuals

__all__ = ["LinearForecaster", "LocationForecaster", "MeanForecaster"]

Array = NDArray[np.float64]

_MIN_ROWS = 30


class LocationForecaster(Forecaster):
    """Location model plus residuals of constant scale; subclasses say where the location is.

    The state is the mean's running sum and the ``horizon - 1`` targets that are not finished yet.
    """

    likelihood: str

    def _fit_location(self, frame: pd.DataFrame, target: Array) -> Array:
        """Estimate, and return the training rows' locations as they were forecast."""
        raise NotImplementedError

    def _location(self, frame: pd.DataFrame, known: Array) -> Array:
        """Location of new rows; ``known`` holds the targets that row i may use as known[:i]."""
        raise NotImplementedError

    def _absorb(self, known: Array) -> None:
        """Take targets that have become known into the state."""

    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        self.columns_ = [str(name) for name in frame.columns]
        location = self._fit_location(frame, target)
        self.std_, self.dof_ = fit_residuals(target - location, self.likelihood)
        self.unfinished_ = target[len(target) - (self.horizon - 1) :]

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one."""
        self._require_fit()
        frame = check_rows(X, self.columns_)
        target = np.full(len(frame), np.nan)
        if y is not None:
            target = check_target(y, X, missing=True)
        location = self._location(frame, np.concatenate([self.unfinished_, target]))
        return MixtureForecast.from_std(
            np.ones((len(frame), 1)),
            location[:, None],
            np.full((len(frame), 1), self.std_),
            self.dof_,
            index=frame.index,
        )

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the state past rows whose target has become known."""
        self._require_fit()
        check_rows(X, self.columns_)
        target = check_target(y, X, missing=True)
        known = np.concatenate([self.unfinished_, target])
        self._absorb(known[: len(target)])
        self.unfinished_ = known[len(target) :]
        return self


class MeanForecaster(LocationForecaster):
    """Expanding mean of every target known so far, with a Student-t of constant scale around it.

    ``mean_t = (sum of y_s known before t) / (their number)``: the benchmark of the out-of-sample
    R2 of Campbell and Thompson (2008), Review of Financial Studies 21.

    Parameters
    ----------
    likelihood : {"t", "gaussian"}
    horizon : int
        y of row s is known ``horizon`` rows later.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.random.default_rng(0).standard_normal(200)
    >>> model = MeanForecaster().fit(np.zeros((100, 1)), y[:100])
    >>> bool(np.isclose(model.predict(np.zeros((1, 1))).mean()[0], y[:100].mean()))
    True
    """

    def __init__(
        self, *, likelihood: str = "t", horizon: int = 1, warm_start: bool = False
    ) -> None:
        self.likelihood = likelihood
        self.horizon = horizon
        self.warm_start = warm_start

    def _fit_location(self, frame: pd.DataFrame, target: Array) -> Array:
        finished = target[: len(target) - (self.horizon - 1)]
        self.sum_, self.count_ = float(finished.sum()), len(finished)
        return np.full(len(target), target.mean())

    def _location(self, frame: pd.DataFrame, known: Array) -> Array:
        before = known[: len(frame)]
        here = np.isfinite(before)
        total = np.append(0.0, np.cumsum(np.where(here, before, 0.0)))[: len(frame)]
        count = np.append(0, np.cumsum(here))[: len(frame)]
        return np.asarray((self.sum_ + total) / (self.count_ + count))

    def _absorb(self, known: Array) -> None:
        here = np.isfinite(known)
        self.sum_ += float(known[here].sum())
        self.count_ += int(here.sum())


class LinearForecaster(LocationForecaster):
    """Ordinary least squares of y on all features, with a Student-t of constant scale around it.

    ``y_t = b_0 + b'x_t + e_t``; :meth:`summary` gives heteroskedasticity- and
    autocorrelation-consistent (Newey-West) standard errors by statsmodels.

    Parameters
    ----------
    likelihood : {"t", "gaussian"}
        Distribution of the residuals.
    horizon : int
        y of row s is known ``horizon`` rows later; also the least number of HAC lags is h - 1.

    Attributes
    ----------
    coef_, std_error_ : dict of float
        Coefficients by name (with ``const``) and their HAC standard errors.

    References
    ----------
    Newey and West (1987), Econometrica 55.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((200, 1))
    >>> noise = 0.1 * np.random.default_rng(1).standard_normal(200)
    >>> round(LinearForecaster().fit(X, 2 * X[:, 0] + noise).coef_["x0"], 1)
    2.0
    """

    requires = ("statsmodels.regression.linear_model",)

    def __init__(
        self, *, likelihood: str = "t", horizon: int = 1, warm_start: bool = False
    ) -> None:
        self.likelihood = likelihood
        self.horizon = horizon
        self.warm_start = warm_start

    def _design(self, frame: pd.DataFrame) -> Array:
        return np.column_stack([np.ones(len(frame)), frame[self.regressors_].to_numpy(float)])

    def _fit_location(self, frame: pd.DataFrame, target: Array) -> Array:
        from statsmodels.regression.linear_model import OLS

        # The offset is a sum of two features, and with lags the last return is the first of them.
        twins = {OFFSET, RETURN} if "lag_1" in self.columns_ else {OFFSET}
        self.regressors_ = [name for name in self.columns_ if name not in twins]
        design = self._design(frame)
        names = ["const", *self.regressors_]
        lags = max(self.horizon - 1, int(4 * (len(target) / 100) ** (2 / 9)))
        result = OLS(target, design).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
        self.coef_ = dict(zip(names, result.params.tolist(), strict=True))
        self.std_error_ = dict(zip(names, result.bse.tolist(), strict=True))
        self.r_squared_ = float(result.rsquared)
        self.n_rows_, self.hac_lags_ = len(target), lags
        return np.asarray(result.fittedvalues)

    def _location(self, frame: pd.DataFrame, known: Array) -> Array:
        return np.asarray(self._design(frame) @ np.array(list(self.coef_.values())))

    def summary(self) -> pd.DataFrame:
        """Coefficients with HAC standard errors, t and two-sided normal p-values."""
        from scipy.stats import norm

        self._require_fit()
        table = pd.DataFrame({"coef": self.coef_, "std_error": self.std_error_})
        table["t"] = table["coef"] / table["std_error"]
        table["p"] = 2.0 * norm.sf(table["t"].abs())
        return table
