"""The dataset that forecasters are fitted on: features, target, and the time rule between them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from regimeslot.errors import InvalidInputError

__all__ = ["TRANSFORMS", "Dataset"]

TRANSFORMS = ("log-return", "diff", "level")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and target on the same rows, where row t of ``X`` is known before ``y`` at t begins.

    Row t of ``X`` holds what was known at the close of t-1; ``y_t`` is the return into t, or over
    t .. t+h-1 for horizon h. With h > 1, ``y_{t-1}`` is **not** known when row t is forecast:
    the newest known target is ``y_{t-h}`` (see ``delay``).

    Attributes
    ----------
    X : DataFrame (n, d)
        Features, float and finite, with the reserved columns ``OFFSET`` and ``RETURN``
    y : Series (n,)
        Target, decimal log-return for prices; its index is the date of each row's first target day
    horizon : int
        Steps that each target covers
    transform : {"log-return", "diff", "level"}
        What was done to the series to get ``returns``
    name : str
        Name of the series
    returns : Series (n,)
        One-step transformed series on the same index: the return into t. By default ``y`` where
        the horizon is 1
    notes : tuple of str
        What a reader of the results should know about the data
    unfinished_X : DataFrame (h - 1, d) or None
        Rows after the last one whose targets are not whole yet; a model's state runs over them
    next_X : DataFrame (1, d) or None
        The row for the session after the last price: what tomorrow's forecast is made from
    skipped : int
        Returns of the series before the first row, spent on warming the features up. A training
        size counted from the beginning of the series is ``rows_before(train_size)`` rows here

    Raises
    ------
    InvalidInputError
        If the parts are not aligned, or hold values that are not finite.

    Examples
    --------
    >>> import pandas as pd
    >>> from regimeslot.features import Dataset
    >>> rows = pd.RangeIndex(4)
    >>> data = Dataset(X=pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}, index=rows),
    ...                y=pd.Series([0.1, 0.2, 0.3, 0.4], index=rows))
    >>> len(data[1:3]), data.cut(2).next_X["x"].item()
    (2, 3.0)
    """

    X: pd.DataFrame
    y: pd.Series
    horizon: int = 1
    transform: str = "log-return"
    name: str = "series"
    returns: pd.Series = None  # type: ignore[assignment]  # None stands for y, see __post_init__
    notes: tuple[str, ...] = ()
    unfinished_X: pd.DataFrame | None = None  # noqa: N815 - X is what everyone calls it
    next_X: pd.DataFrame | None = None  # noqa: N815
    skipped: int = 0

    def __post_init__(self) -> None:
        if self.horizon < 1 or self.skipped < 0:
            raise InvalidInputError(
                "horizon must be at least 1 and skipped at least 0, "
                f"got horizon={self.horizon} and skipped={self.skipped}"
            )
        if self.transform not in TRANSFORMS:
            raise InvalidInputError(
                f"transform must be one of {', '.join(TRANSFORMS)}, got {self.transform!r}"
            )
        if self.returns is None and self.horizon == 1:
            object.__setattr__(self, "returns", self.y)
        if self.returns is None:
            raise InvalidInputError(
                f"a dataset of horizon {self.horizon} needs returns=, the one-step series, beside y"
            )
        for label, part in (("y", self.y), ("returns", self.returns)):
            if not part.index.equals(self.X.index):
                raise InvalidInputError(
                    f"{label} must stand on the index of X ({len(self.X)} rows), "
                    f"got another index of {len(part)} rows: reindex it first"
                )
            _require_finite(label, part.to_frame())
        _require_finite("X", self.X)
        if self.next_X is not None:
            if len(self.next_X) != 1 or list(self.next_X.columns) != list(self.X.columns):
                raise InvalidInputError(
                    "next_X must be one row with the columns of X, "
                    f"got {len(self.next_X)} rows and columns {list(self.next_X.columns)}"
                )
            _require_finite("next_X", self.next_X)

    def __len__(self) -> int:
        return len(self.X)

    @property
    def index(self) -> pd.Index:
        """Date (or position) of each row's first target day."""
        return self.X.index

    @property
    def delay(self) -> int:
        """Rows whose target is still unfinished when a row is forecast: horizon - 1."""
        return self.horizon - 1

    def rows_before(self, n_returns: int) -> int:
        """Rows of this dataset among the first ``n_returns`` returns of its series.

        A walk-forward with ``train_size=2500`` so means the first 2,500 returns of the price
        series, however many of them the features needed to warm up.
        """
        return int(np.clip(n_returns - self.skipped, 0, len(self)))

    def cut(self, stop: int) -> Dataset:
        """First ``stop`` rows; ``next_X`` is the row forecast once their last target is known."""
        return self[:stop]

    def __getitem__(self, rows: slice) -> Dataset:
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InvalidInputError(
                f"rows of a dataset are taken as a slice without step, got {rows!r}"
            )
        start, stop, _ = rows.indices(len(self))
        stop = max(start, stop)
        pieces, missing = [], self.delay + 1  # the rows that follow, from where they stand
        for part in (self.X.iloc[stop:], self.unfinished_X, self.next_X):
            if part is not None and missing and len(part):
                pieces.append(part.iloc[:missing])
                missing -= len(pieces[-1])
        known = missing == 0
        unfinished = [*pieces[:-1], pieces[-1].iloc[:-1]] if known and self.delay else []
        return replace(
            self,
            X=self.X.iloc[start:stop],
            y=self.y.iloc[start:stop],
            returns=self.returns.iloc[start:stop],
            unfinished_X=pd.concat([p for p in unfinished if len(p)]) if unfinished else None,
            next_X=pieces[-1].iloc[-1:] if known else None,
            skipped=self.skipped + start,
        )

    def __repr__(self) -> str:
        span = f", {_day(self.index[0])} to {_day(self.index[-1])}" if len(self) else ""
        return (
            f"Dataset({self.name!r}, {len(self)} rows, {self.X.shape[1]} columns{span}, "
            f"horizon={self.horizon}, transform={self.transform!r})"
        )


def _require_finite(label: str, frame: pd.DataFrame) -> None:
    values = frame.to_numpy(dtype=float)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InvalidInputError(
            f"{label} must be finite, got {values[row, column]} in row {_day(frame.index[row])}, "
            f"column {frame.columns[column]!r}: drop or fill such rows first"
        )


def _day(label: Hashable) -> str:
    return str(label.date()) if isinstance(label, pd.Timestamp) else str(label)
