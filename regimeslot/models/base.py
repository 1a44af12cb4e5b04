"""The one protocol of every forecaster, and what all of them share.

A forecaster is fitted on rows whose target is known and then forecasts later rows:

* ``fit(X, y)`` sees the training rows.
* ``predict(X, y)`` gives each row's forecast one step ahead: row t uses X up to t and those y
  that are known before t (with horizon h, y_s is known h rows after row s).
* ``predict(X)`` leaves the state after the last known y: rows are 1, 2, ... steps ahead.
* ``update(X, y)`` moves the state past new rows without a refit.

``predict`` never changes the model.
"""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError, NotFittedError, TooFewRowsError
from regimeslot.forecast import MixtureForecast

__all__ = ["Forecaster", "check_rows", "check_target", "recency_weights"]

Array = NDArray[np.float64]
Features = pd.DataFrame | ArrayLike


class Forecaster:
    """Base of all forecasters: parameters, fitted state and their checks.

    Subclasses have a keyword-only ``__init__`` that only stores its arguments, and keep what they
    learned in attributes with a trailing underscore: arrays, numbers, strings, or dicts, lists and
    forecasters of those. That is all that :func:`regimeslot.save` writes.
    """

    horizon: int = 1
    warm_start: bool = False
    requires: tuple[str, ...] = ()  # modules that fit imports; a fair timing imports them first

    def fit(self, X: Features, y: ArrayLike) -> Self:
        """Estimate on training rows; with ``warm_start`` from the solution before.

        Parameters
        ----------
        X : (n, F) DataFrame or array
            Row t holds what was known before y_t began.
        y : (n,)
            Targets in the data's units.

        Raises
        ------
        InvalidInputError
            For wrong shapes, values that are not finite, a constant y, or another index than X's.
        TooFewRowsError
        """
        self._check_parameters()
        frame = check_rows(X)
        target = check_target(y, X, at_least=self._least_rows())
        if np.ptp(target) == 0.0:
            raise InvalidInputError("y is constant: there is no distribution to forecast")
        before = dict(vars(self))
        try:
            self._fit(frame, target)
        except BaseException:  # a fit that fails or is stopped leaves the model as it was
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _check_parameters(self) -> None:
        """Refuse constructor arguments that make no sense."""

    def _least_rows(self) -> int:
        """Fewest rows that can be fitted."""
        return 30

    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        """Estimate on checked rows."""
        raise NotImplementedError

    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast rows that follow the last known one."""
        raise NotImplementedError

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the state past rows whose target has become known, without a refit."""
        raise NotImplementedError

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Names of the constructor's arguments."""
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments, as scikit-learn's ``clone`` and searches read them."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name."""
        known = self.parameter_names()
        for name, value in params.items():
            if name not in known:
                raise InvalidInputError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def clone(self, **changes: Any) -> Self:
        """An unfitted copy with the same parameters, apart from ``changes``."""
        return type(self)(**{**self.get_params(), **changes})

    def get_state(self) -> dict[str, Any]:
        """What was learned: every attribute with a trailing underscore."""
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") and not name.startswith("_")
        }

    def set_state(self, state: dict[str, Any]) -> Self:
        """Put back what :meth:`get_state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether a ``fit`` has finished."""
        return bool(self.get_state())

    def _require_fit(self) -> None:
        if not self.is_fitted:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet: call fit(X, y) first"
            )

    def __repr__(self) -> str:
        """Constructor call with the arguments that differ from their defaults."""
        signature = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not signature[name].default and value != signature[name].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def check_rows(X: Features, columns: list[str] | None = None) -> pd.DataFrame:
    """Features as a DataFrame of finite floats; ``columns`` are those seen in ``fit``."""
    if isinstance(X, pd.DataFrame):
        frame = X
    else:
        array = np.asarray(X, float)
        if array.ndim != 2:
            raise InvalidInputError(
                f"X must have two dimensions (rows, features), got {array.shape}"
            )
        if columns is not None and array.shape[1] != len(columns):
            raise InvalidInputError(
                f"X must have the {len(columns)} columns that the model was fitted with, "
                f"got {array.shape[1]}"
            )
        names = columns or [f"x{i}" for i in range(array.shape[1])]
        frame = pd.DataFrame(array, columns=names)
    if columns is not None:
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise InvalidInputError(
                f"X lacks the column(s) {', '.join(missing)} that the model was fitted with"
            )
        if list(frame.columns) != columns:
            frame = frame[columns]
    try:
        values = frame.to_numpy(float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"X must hold numbers only: {error}") from error
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InvalidInputError(
            f"X must be finite, got {values[row, column]} in column {frame.columns[column]!r} at "
            f"row {frame.index[row]}; drop or fill such rows first"
        )
    return frame


def check_target(y: ArrayLike, X: Features, *, at_least: int = 0, missing: bool = False) -> Array:
    """Target as a float array on the rows of X; NaN only where ``missing`` is allowed."""
    if isinstance(y, pd.Series) and isinstance(X, pd.DataFrame) and not y.index.equals(X.index):
        raise InvalidInputError(
            "y must stand on the index of X, row for row: reindex it, or pass arrays"
        )
    target = np.array(y, dtype=float)
    n_rows = len(np.asarray(X)) if not isinstance(X, pd.DataFrame) else len(X)
    if target.shape != (n_rows,):
        raise InvalidInputError(
            f"y must have one value for each of the {n_rows} rows of X, got shape {target.shape}"
        )
    bad = np.isinf(target) if missing else ~np.isfinite(target)
    if bad.any():
        raise InvalidInputError(f"y must be finite, got {target[bad][0]} at row {bad.argmax()}")
    if n_rows < at_least:
        raise TooFewRowsError(
            f"{n_rows} rows are too few to fit on: at least {at_least} are needed"
        )
    return target


def recency_weights(n_rows: int, half_life: float | None) -> Array:
    """Weight (n,) of each row of a fit, oldest first; None: all rows count alike.

    Examples
    --------
    >>> recency_weights(3, 1.0).tolist()
    [0.25, 0.5, 1.0]
    """
    age = np.arange(n_rows)[::-1]
    return np.ones(n_rows) if half_life is None else 0.5 ** (age / half_life)
