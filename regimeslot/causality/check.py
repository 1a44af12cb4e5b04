"""A test that a feature or a model does not look ahead: rewrite the future, watch the past.

The time rule of the project: row t of ``X`` holds what was known at the close of t-1, and the
forecast of row t may use ``X`` up to t and ``y`` before t.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.causality.data import index_of, position, rewrite, rows_of
from regimeslot.errors import CausalityError, InvalidInputError

__all__ = ["assert_causal"]

Rows = dict[int, NDArray[np.float64]]

_WAYS = ("noise", "huge", "cut off")


def assert_causal(
    target: Any,
    *data: Any,
    rows: Iterable[int] | None = None,
    n_rows: int = 4,
    lag: int = 1,
    train_size: int | None = None,
    delay: int | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-12,
    random_state: int | np.random.Generator | None = 0,
) -> None:
    """Raise if anything that ``target`` says about the past moves when the future is rewritten.

    At several rows t the data from t on are replaced by noise, by huge values, and cut off.

    *A feature function* ``target(*data)`` returns a frame, series, array or ``Dataset`` on the
    rows of the first argument. Data of rows >= t are rewritten; rows up to ``t - 1 + lag`` must
    stay as they were.

    *A model* (``fit`` and ``predict``; data are ``X, y`` or one ``Dataset``) is copied, fitted on
    the first ``train_size`` rows, and forecasts the others. ``X`` after t and ``y`` from t on (from
    ``t - h + 1`` on, for targets of h steps) are rewritten, and the forecasts up to row t must
    stay. Forecasts without ``y`` are checked in the same way, and predicting must not change the
    model: asked again, it repeats its forecast.

    Parameters
    ----------
    target : callable or model
        What is tested; it is not changed
    *data : Prices, DataFrame, Series, ndarray or Dataset
        Rows oldest first. With several feature inputs, those with an index are cut by its labels,
        arrays by position
    rows : iterable of int, optional
        Positions t to rewrite from; by default drawn at random
    n_rows : int
        How many are drawn
    lag : int
        Features only: row t may use data up to row ``t - lag``. 1 is the rule for a column of
        ``X``, 0 for a quantity known at the close of its own day
    train_size : int, optional
        Models only; two thirds of the rows by default
    delay : int, optional
        Models only: ``y`` of the last ``delay`` rows before t are not known either, because their
        targets cover ``delay + 1`` steps. By default the model's ``horizon - 1``, or 0
    rtol, atol : float
        A value has moved when it changes by more than ``atol + rtol * |value|``; both 0 asks for
        equal bits
    random_state : int, Generator or None
        Source of rows and noise

    Raises
    ------
    CausalityError
        Naming the target, the row and the column that moved.
    InvalidInputError
        If the data do not suit the target, or no row can be checked.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.causality import assert_causal
    >>> prices = pd.Series(np.arange(1.0, 101.0), name="Close")
    >>> assert_causal(lambda p: p.shift(1).rolling(5).mean(), prices)
    >>> def centred(p):
    ...     return p.rolling(5, center=True).mean()
    >>> assert_causal(centred, prices, rows=[50])
    Traceback (most recent call last):
    ...
    regimeslot.errors.CausalityError: centred looks ahead: row 48, column 'Close' was 49 and is ...
    """
    if not data:
        raise InvalidInputError("assert_causal needs the data that the target is applied to")
    rng = np.random.default_rng(random_state)
    check = _Check(_name(target), rtol, atol)
    chosen = None if rows is None else [int(t) for t in rows]
    if hasattr(target, "fit") and hasattr(target, "predict") and not inspect.isclass(target):
        X, y = _model_data(data)
        if delay is None:  # a dataset knows how long its targets take, whatever the model thinks
            delay = max(getattr(part, "horizon", 1) - 1 for part in (target, *data))
        _check_model(target, X, y, check, chosen, n_rows, train_size, delay, rng)
    elif callable(target):
        _check_feature(target, data, check, chosen, n_rows, lag, rng)
    else:
        raise InvalidInputError(
            "target must be a function of the data, or a model with fit and predict, "
            f"got {type(target).__name__}"
        )


@dataclasses.dataclass(frozen=True)
class _Check:
    """Compares outputs and words the complaint."""

    name: str
    rtol: float
    atol: float

    def same(
        self,
        before: _Output,
        after: _Output,
        labels: pd.Index,
        up_to: int,
        event: str,
        *,
        all_rows: bool = True,
        fault: str = "looks ahead",
    ) -> None:
        """Raise for the first value in rows up to ``up_to`` that is not what it was."""
        if before.columns != after.columns:
            raise CausalityError(
                f"{self.name} looks ahead: its columns were {before.columns} and are "
                f"{after.columns} {event}"
            )
        wanted = [t for t in before.rows if t <= up_to]
        if all_rows:
            odd = sorted(set(wanted) ^ {t for t in after.rows if t <= up_to})
            if odd:
                raise CausalityError(
                    f"{self.name} looks ahead: row {labels[odd[0]]} appears or vanishes {event}"
                )
        common = [t for t in wanted if t in after.rows]
        if not common:
            return
        old = np.array([before.rows[t] for t in common])
        new = np.array([after.rows[t] for t in common])
        moved = ~np.isclose(new, old, rtol=self.rtol, atol=self.atol, equal_nan=True)
        if moved.any():
            i, j = np.argwhere(moved)[0]
            raise CausalityError(
                f"{self.name} {fault}: row {labels[common[i]]}, column "
                f"{before.columns[j]!r} was {old[i, j]:.6g} and is {new[i, j]:.6g} {event}"
            )


@dataclasses.dataclass(frozen=True)
class _Output:
    """Values by row position, whatever they came in."""

    rows: Rows
    columns: list[str]


# --------------------------------------------------------------------------- features


def _check_feature(
    target: Callable[..., Any],
    data: Sequence[Any],
    check: _Check,
    chosen: list[int] | None,
    n_rows: int,
    lag: int,
    rng: np.random.Generator,
) -> None:
    index = index_of(data[0])
    before = _feature_output(target(*data), index)
    held = sorted(before.rows)
    if chosen is None:
        later = [t for t in held if 0 < t < len(index)][len(held) // 2 :]
        if not later:
            raise InvalidInputError(
                f"{check.name} gives no row to check on {len(index)} rows of data: use more data"
            )
        chosen = _draw(later, n_rows, rng)
    for t in chosen:
        if not 0 < t < len(index):
            raise InvalidInputError(f"rows must lie in 1 .. {len(index) - 1}, got {t}")
        if not held or held[0] > t - 1 + lag:
            raise InvalidInputError(
                f"{check.name} gives no row up to {t - 1 + lag}: choose later rows="
            )
        for way in _WAYS:
            rewritten = [rewrite(part, position(part, index, t), way, rng) for part in data]
            with _quiet():
                output = target(*rewritten)
            shown = index[:t] if way == "cut off" else index
            check.same(
                before,
                _feature_output(output, shown),
                index,
                t - 1 + lag,
                _event(way, f"the data from row {index[t]} on"),
                all_rows=way != "cut off",  # a target of several steps loses its last rows
            )


def _feature_output(output: Any, index: pd.Index) -> _Output:
    following = getattr(output, "next_X", None)
    if hasattr(output, "X") and hasattr(output, "y"):
        output = output.X
    if isinstance(output, pd.Series | pd.DataFrame):
        frame = output.to_frame() if isinstance(output, pd.Series) else output
        positions = index.get_indexer(frame.index)
        if (positions < 0).any():
            raise InvalidInputError(
                "rows of a feature must carry labels of the data's rows, got "
                f"{frame.index[positions < 0][0]}"
            )
        values = frame.to_numpy(dtype=float)
        columns = [str(c) for c in frame.columns]
    else:
        values = np.asarray(output, dtype=float)
        if len(values) != len(index):
            raise InvalidInputError(
                f"a feature without index must have the {len(index)} rows of the data, "
                f"got {len(values)}"
            )
        values = values.reshape(len(values), -1)
        positions = np.arange(len(values))
        columns = [str(j) for j in range(values.shape[1])]
    held = dict(zip(positions.tolist(), values, strict=True))
    if following is not None:
        held[len(index)] = following.to_numpy(dtype=float)[0]
    return _Output(held, columns)


# --------------------------------------------------------------------------- models


def _model_data(data: Sequence[Any]) -> tuple[Any, Any]:
    if len(data) == 1 and hasattr(data[0], "X") and hasattr(data[0], "y"):
        return data[0].X, data[0].y
    if len(data) != 2 or len(data[0]) != len(data[1]):
        raise InvalidInputError(
            "a model is checked on X and y with the same rows, or on one Dataset, got "
            f"{len(data)} arguments with {[len(part) for part in data]} rows"
        )
    return data[0], data[1]


def _check_model(
    model: Any,
    X: Any,
    y: Any,
    check: _Check,
    chosen: list[int] | None,
    n_rows: int,
    train_size: int | None,
    delay: int,
    rng: np.random.Generator,
) -> None:
    n = len(X)
    first = 2 * n // 3 if train_size is None else train_size
    if not delay < first < n - 1:
        raise InvalidInputError(
            f"train_size must leave rows to fit and at least 2 to forecast, got {first} of {n}"
        )
    start = first - delay  # the targets of the rows between are unfinished when first is forecast
    fitted = copy.deepcopy(model)
    fitted.fit(rows_of(X, 0, start), rows_of(y, 0, start))
    index = index_of(X)
    chosen = _draw(range(first, n - 1), n_rows, rng) if chosen is None else chosen
    for t in chosen:
        if not first <= t < n:
            raise InvalidInputError(f"rows must lie in {first} .. {n - 1}, got {t}")

    takes_y = "y" in inspect.signature(fitted.predict).parameters
    for with_y in (True, False) if takes_y else (False,):
        asked = "with y" if with_y else "without y"

        def forecast(X: Any, y: Any, stop: int, with_y: bool = with_y) -> _Output:
            rows = rows_of(X, start, stop)
            return _forecast_output(
                fitted.predict(rows, rows_of(y, start, stop)) if with_y else fitted.predict(rows),
                start,
            )

        before = forecast(X, y, n)
        for t in chosen:
            for way in _WAYS:
                stop = t + 1 if way == "cut off" else n
                value = "noise" if way == "cut off" else way
                X_new = rewrite(X, t + 1, value, rng)
                y_new = rewrite(y, t - delay, value, rng)
                with _quiet():
                    after = forecast(X_new, y_new, stop)
                event = _event(way, f"X after and y from row {index[t]} on")
                check.same(before, after, index, t, f"{event} ({asked})")
        again = forecast(X, y, n)
        event = f"when asked again ({asked})"
        check.same(before, again, index, n - 1, event, fault="changes when it predicts")


def _forecast_output(forecast: Any, first: int) -> _Output:
    """Every array of a forecast side by side, one row per forecast."""
    parts: dict[str, NDArray[np.float64]] = {}
    if dataclasses.is_dataclass(forecast):
        for field in dataclasses.fields(forecast):
            value = getattr(forecast, field.name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                parts[field.name] = value
    else:
        parts["forecast"] = np.asarray(forecast, dtype=float)
    tables = {name: part.reshape(len(part), -1) for name, part in parts.items()}
    columns = [f"{name}[{j}]" for name, part in tables.items() for j in range(part.shape[1])]
    values = np.column_stack(list(tables.values()))
    return _Output({first + i: row for i, row in enumerate(values)}, columns)


# --------------------------------------------------------------------------- rewriting


def _draw(candidates: Sequence[int], n_rows: int, rng: np.random.Generator) -> list[int]:
    """Random rows, the last candidate among them: ends are where indexing goes wrong."""
    count = min(max(n_rows - 1, 0), len(candidates))
    drawn = rng.choice(np.asarray(candidates), size=count, replace=False).tolist()
    return sorted({*drawn, candidates[-1]})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Rewritten data are absurd on purpose; what a target warns about them is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _event(way: str, what: str) -> str:
    return f"when {what} are cut off" if way == "cut off" else f"when {what} become {way}"


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", type(target).__name__))
