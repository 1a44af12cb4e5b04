"""GARCH baselines: estimated by the arch package, forecast by their own recursion."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from regimeslot.errors import ConvergenceError, ConvergenceWarning, InvalidInputError
from regimeslot.features import RETURN
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Features, Forecaster, check_rows, check_target
from regimeslot.models.garch_starts import flat_starts, skew_student
from regimeslot.models.residuals import fit_residuals

__all__ = ["GarchForecaster"]

Array = NDArray[np.float64]

_MIN_ROWS = 100
_LARGEST_LOG_VARIANCE = 50.0


Moments = tuple[float, float, float]


@dataclass(frozen=True)
class _Recursion:
    """Variance equation, linear in three moments of each past row.

    ``level_t = omega + sum_lag alpha m1 + gamma m2 + beta m3``. For GARCH and GJR (Glosten,
    Jagannathan and Runkle 1993) the level is the variance v and the moments are
    ``(e^2, e^2 1[e < 0], v)``. For EGARCH (Nelson 1991) it is log v, and the moments are
    ``(|z| - sqrt(2/pi), z, log v)`` with ``z = e / sqrt(v)``.
    """

    exponential: bool
    omega: float
    coefficients: tuple[Moments, ...]  # (alpha, gamma, beta) by lag
    down: float  # E[z^2 1(z < 0)] of the innovations
    absolute: float  # E|z|

    def moments(self, residual: float, variance: float) -> Moments:
        """Moments of a row that has been seen."""
        if not self.exponential:
            square = residual * residual
            return square, square * (residual < 0.0), variance
        z = residual / math.sqrt(variance)
        return abs(z) - math.sqrt(2.0 / math.pi), z, math.log(variance)

    def expected_moments(self, variance: float) -> Moments:
        """Moments of a row to come: exact for GARCH and GJR, inside the logarithm for EGARCH."""
        if not self.exponential:
            return variance, self.down * variance, variance
        return self.absolute - math.sqrt(2.0 / math.pi), 0.0, math.log(variance)

    def variance(self, past: list[Moments]) -> float:
        """Variance of the row after ``past``, whose newest row comes last."""
        level = self.omega
        for (alpha, gamma, beta), (m1, m2, m3) in zip(
            self.coefficients, reversed(past), strict=False
        ):
            level += alpha * m1 + gamma * m2 + beta * m3
        if not self.exponential:
            return level
        return math.exp(min(max(level, -_LARGEST_LOG_VARIANCE), _LARGEST_LOG_VARIANCE))

    def path(self, past: list[Moments], steps: int) -> list[float]:
        """Expected variances of the next ``steps`` rows."""
        past, path = list(past), []
        for _ in range(steps):
            path.append(self.variance(past))
            past.append(self.expected_moments(path[-1]))
        return path


class GarchForecaster(Forecaster):
    """GARCH(1,1), GJR or EGARCH with Gaussian, Student-t or skewed-t innovations.

    Estimated by :mod:`arch`; a refit starts from the last solution and, where that does not
    converge, anew. For ``horizon`` h > 1 the h-step variance is the sum of expected variances, and
    a Student-t with its scale and degrees of freedom fitted to the training rows' standardised
    h-step targets stands in for the unknown h-step density.

    Parameters
    ----------
    volatility : {"gjr", "garch", "egarch"}
    likelihood : {"t", "skewt", "gaussian"}
        ``"skewt"`` is Hansen's (1994) skewed t.
    lags : int
        Lags of the shock, the asymmetry and the variance alike.
    ar_lags : int
        Autoregressive lags of the mean; 0 is a constant mean.
    horizon : int
        Rows that y covers; with more than one the one-step series is read from the column
        ``last_return`` of X.
    warm_start : bool

    Attributes
    ----------
    params_ : dict of float, in units of the series divided by ``spread_``
    log_likelihood_ : float, of the series divided by ``spread_``
    converged_ : bool

    References
    ----------
    Bollerslev (1986), Journal of Econometrics 31; Glosten, Jagannathan and Runkle (1993), Journal
    of Finance 48; Nelson (1991), Econometrica 59; Hansen (1994), International Economic Review 35.

    Examples
    --------
    >>> import numpy as np
    >>> y = 0.01 * np.random.default_rng(0).standard_normal(600)
    >>> model = GarchForecaster().fit(np.zeros((500, 1)), y[:500])
    >>> model.predict(np.zeros((100, 1)), y[500:]).std().shape
    (100,)
    """

    requires = ("arch.univariate",)

    def __init__(
        self,
        *,
        volatility: str = "gjr",
        likelihood: str = "t",
        lags: int = 1,
        ar_lags: int = 0,
        horizon: int = 1,
        warm_start: bool = False,
    ) -> None:
        self.volatility = volatility
        self.likelihood = likelihood
        self.lags = lags
        self.ar_lags = ar_lags
        self.horizon = horizon
        self.warm_start = warm_start

    # ------------------------------------------------------------------ fit
    def _least_rows(self) -> int:
        return _MIN_ROWS

    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        before: dict[str, float] = self.get_state().get("params_", {}) if self.warm_start else {}
        self.columns_ = [str(name) for name in frame.columns]
        series = self._series(frame, target)
        if np.ptp(series) == 0.0:
            raise InvalidInputError("y is constant: there is no variance to model")
        if not before:
            self.spread_ = float(series.std())
        scaled = series / self.spread_
        result = self._estimate(scaled, list(before.values()) or None)
        self.params_ = {str(name): float(v) for name, v in result.params.items()}
        self.log_likelihood_ = float(result.loglikelihood)
        residuals = np.asarray(result.resid, float)
        variances = np.asarray(result.conditional_volatility, float) ** 2
        recursion = self._recursion()
        moments = [
            recursion.moments(e, v)
            for e, v in zip(residuals.tolist(), variances.tolist(), strict=True)
        ]
        self.past_ = [list(row) for row in moments[-self.lags :]]
        self.recent_ = scaled[len(scaled) - self.ar_lags :].tolist()
        if self.horizon > 1:
            self._fit_steps(scaled, target / self.spread_, moments)

    def _check_parameters(self) -> None:
        for name, allowed in (
            ("volatility", ("gjr", "garch", "egarch")),
            ("likelihood", ("t", "skewt", "gaussian")),
        ):
            if getattr(self, name) not in allowed:
                raise InvalidInputError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if self.lags < 1 or self.ar_lags < 0 or self.horizon < 1:
            raise InvalidInputError(
                "lags and horizon must be at least 1 and ar_lags at least 0, got "
                f"{self.lags}, {self.horizon}, {self.ar_lags}"
            )

    def _series(self, frame: Any, target: Array) -> Array:
        """One-step series known at the end of these rows; its last value is into the last row."""
        if self.horizon == 1:
            return target
        if RETURN not in frame.columns:
            raise InvalidInputError(
                f"a GARCH forecast over {self.horizon} rows needs the one-step series: X must have "
                f"the column {RETURN!r} (make_dataset gives it)"
            )
        return frame[RETURN].to_numpy(float)

    def _estimate(self, scaled: Array, start: list[float] | None) -> Any:
        from arch.univariate import (
            ARX,
            EGARCH,
            GARCH,
            ConstantMean,
            Normal,
            StudentsT,
        )

        lags = self.lags
        odd = 0 if self.volatility == "garch" else lags
        volatility: Any = (EGARCH if self.volatility == "egarch" else GARCH)(p=lags, o=odd, q=lags)
        distribution: Any = {"t": StudentsT, "skewt": skew_student, "gaussian": Normal}
        parts = {"volatility": volatility, "distribution": distribution[self.likelihood]()}
        model: Any
        if self.ar_lags:
            model = ARX(scaled, lags=self.ar_lags, rescale=False, **parts)
        else:
            model = ConstantMean(scaled, rescale=False, **parts)
        # A constant variance is a limit of every model here: a fit that explains the rows worse has
        # failed, whatever its flag says, and is tried again from nearly constant variance. (arch's
        # EGARCH often ends where it should not on a hundred rows or two.)
        floor = -0.5 * len(scaled) * (math.log(2.0 * math.pi * float(scaled.var())) + 1.0)
        best = None
        starts = [start] if start is not None else []
        for values in [
            *starts,
            None,
            *flat_starts(scaled, self.volatility, self.likelihood, lags, self.ar_lags),
        ]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = model.fit(
                    disp="off", starting_values=values, show_warning=False, update_freq=0
                )
            usable = bool(np.isfinite(found.loglikelihood)) and bool(
                np.isfinite(np.asarray(found.conditional_volatility)[-self.lags :]).all()
            )
            if usable and (best is None or found.loglikelihood > best.loglikelihood):
                best = found
            if usable and found.convergence_flag == 0 and found.loglikelihood > floor:
                break
        if best is None:
            raise ConvergenceError(
                f"no {self.volatility} fit on {len(scaled)} rows has a finite likelihood: look for "
                "long runs of unchanged prices, or leave this model out"
            )
        self.converged_ = bool(best.convergence_flag == 0 and best.loglikelihood > floor)
        if not self.converged_:
            warnings.warn(
                f"{self.volatility} with {self.likelihood} innovations did not converge on "
                f"{len(scaled)} rows; its best result is used",
                ConvergenceWarning,
                stacklevel=3,
            )
        return best

    def _innovations(self) -> tuple[float, float]:
        """Degrees of freedom and skew of the innovations."""
        values = list(self.params_.values())
        if self.likelihood == "gaussian":
            return math.inf, 0.0
        return (values[-1], 0.0) if self.likelihood == "t" else (values[-2], values[-1])

    def _recursion(self) -> _Recursion:
        values = list(self.params_.values())[1 + self.ar_lags :]
        lags = self.lags
        alpha = values[1 : 1 + lags]
        rest = values[1 + lags :]
        gamma = [0.0] * lags
        if self.volatility != "garch":
            gamma, rest = rest[:lags], rest[lags:]
        unit = self._density(np.zeros(1), np.ones(1))
        grid = unit.quantile(np.linspace(0.0005, 0.9995, 1000))[0]
        return _Recursion(
            self.volatility == "egarch",
            values[0],
            tuple(zip(alpha, gamma, rest[:lags], strict=True)),
            down=float(np.mean(grid**2 * (grid < 0)) / np.mean(grid**2)),
            absolute=float(np.mean(np.abs(grid))),
        )

    # ------------------------------------------------------------------ forecast
    def _density(self, mean: Array, variance: Array, index: Any = None) -> MixtureForecast:
        """One-row-each densities with the model's innovations, from mean and variance."""
        dof, skew = self._innovations()
        ones = np.ones((len(mean), 1))
        std = np.sqrt(variance)[:, None]
        if skew == 0.0:
            return MixtureForecast.from_std(ones, mean[:, None], std, dof, index=index)
        constant = math.exp(float(gammaln((dof + 1) / 2) - gammaln(dof / 2))) / math.sqrt(
            math.pi * (dof - 2)
        )
        shift = 4.0 * skew * constant * (dof - 2) / (dof - 1)
        stretch = math.sqrt(1.0 + 3.0 * skew * skew - shift * shift)
        return MixtureForecast(
            ones,
            mean[:, None] - std * (shift / stretch),
            std * (math.sqrt((dof - 2) / dof) / stretch),
            dof,
            skew=skew,
            index=index,
        )

    def _ahead(
        self, recursion: _Recursion, past: list[Moments], recent: list[float]
    ) -> tuple[float, float, float, float]:
        """Mean and variance of the next row, and of the sum over the horizon."""
        const, *slopes = list(self.params_.values())[: 1 + self.ar_lags]
        recent, means = list(recent), []
        for _ in range(self.horizon):
            lagged = reversed(recent[len(recent) - self.ar_lags :])
            means.append(const + sum(a * x for a, x in zip(slopes, lagged, strict=True)))
            recent.append(means[-1])
        path = recursion.path(past, self.horizon)
        return means[0], path[0], sum(means), sum(path)

    def _run(
        self, X: Features, y: ArrayLike | None
    ) -> tuple[MixtureForecast, list[Moments], list[float]]:
        """Forecasts of new rows, and the state after them.

        With horizon 1 a row is forecast and then its y is seen. With more, the newest one-step
        value is already in the row's X; without y only the first row's is taken as known.
        """
        self._require_fit()
        frame = check_rows(X, self.columns_)
        n_rows = len(frame)
        known = np.full(n_rows, np.nan)
        if y is not None:
            known = check_target(y, X, missing=True)
        if self.horizon > 1:
            series = frame[RETURN].to_numpy(float)
            known = series if y is not None else np.append(series[:1], known[1:])
        recursion = self._recursion()
        past: list[Moments] = [(p[0], p[1], p[2]) for p in self.past_]
        recent = list(self.recent_)
        means, variances = np.empty(n_rows), np.empty(n_rows)

        def see(value: float, mean: float, variance: float) -> None:
            finite = math.isfinite(value)
            past.append(
                recursion.moments(value - mean, variance)
                if finite
                else recursion.expected_moments(variance)
            )
            recent.append(value if finite else mean)

        for i, value in enumerate((known / self.spread_).tolist()):
            if self.horizon > 1:
                see(value, *self._ahead(recursion, past, recent)[:2])
            mean, variance, means[i], variances[i] = self._ahead(recursion, past, recent)
            if self.horizon == 1:
                see(value, mean, variance)
        past, recent = past[-self.lags :], recent[len(recent) - self.ar_lags :]
        means *= self.spread_
        variances *= self.spread_**2
        if self.horizon == 1:
            return self._density(means, variances, frame.index), past, recent
        forecast = MixtureForecast.from_std(
            np.ones((n_rows, 1)),
            means[:, None],
            self.step_scale_ * np.sqrt(variances)[:, None],
            self.step_dof_,
            index=frame.index,
        )
        return forecast, past, recent

    def _fit_steps(self, series: Array, target: Array, moments: list[Moments]) -> None:
        """Scale and degrees of freedom of the training rows' standardised h-step targets."""
        recursion = self._recursion()
        recent = series.tolist()
        errors = []
        for row in range(max(self.lags, self.ar_lags), len(target)):
            past = moments[row + 1 - self.lags : row + 1]
            _, _, mean, variance = self._ahead(
                recursion, past, recent[row + 1 - self.ar_lags : row + 1]
            )
            errors.append((target[row] - mean) / math.sqrt(variance))
        self.step_scale_, self.step_dof_ = fit_residuals(np.array(errors), "t")

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one."""
        return self._run(X, y)[0]

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the state past rows whose target has become known."""
        _, past, recent = self._run(X, y)
        self.past_ = [list(row) for row in past]
        self.recent_ = recent
        return self
