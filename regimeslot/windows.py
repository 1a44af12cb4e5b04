"""Rolling windows as views, and the folds of a walk-forward.

Time rule: row t of ``X`` is known before ``y_t`` begins, so the window that ends **with** row t
belongs to the forecast of row t, and a model that forecasts row t may have been fitted on targets
that were complete before t, no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError

__all__ = ["Fold", "fold_masks", "rolling_windows", "walk_forward_folds"]


def rolling_windows(X: ArrayLike, length: int) -> NDArray[np.float64]:
    """All windows of ``length`` consecutive rows, as a read-only view that copies nothing.

    ``windows[i] = X[i : i + length]``. Window i ends with row ``i + length - 1`` and serves that
    row's forecast; the first ``length - 1`` rows have no whole window.

    Parameters
    ----------
    X : array-like (n, d) or (n,)
        Rows, oldest first; a vector counts as one column
    length : int
        Rows in a window

    Returns
    -------
    ndarray (n - length + 1, length, d)
        A view on ``X`` where ``X`` is already a float64 array

    Raises
    ------
    InvalidInputError
        If ``length`` is not a positive whole number or ``X`` is not one- or two-dimensional.
    TooFewRowsError
        If a window is longer than the data.

    Examples
    --------
    >>> import numpy as np
    >>> from regimeslot.windows import rolling_windows
    >>> X = np.arange(10.0).reshape(5, 2)
    >>> windows = rolling_windows(X, 3)
    >>> windows.shape, bool((windows[1] == X[1:4]).all()), np.shares_memory(windows, X)
    ((3, 3, 2), True, True)
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2:
        raise InvalidInputError(f"X must have shape (n, d) or (n,), got {rows.shape}")
    _require_count("length", length, 1)
    if length > len(rows):
        raise TooFewRowsError(
            f"a window of {length} rows does not fit into {len(rows)}: "
            "take a shorter window or a longer series"
        )
    return np.moveaxis(sliding_window_view(rows, length, axis=0), -1, 1)


@dataclass(frozen=True)
class Fold:
    """Rows of one refit of a walk-forward.

    Attributes
    ----------
    train : slice
        Rows that the model is fitted on; their targets were complete before ``test`` begins
    test : slice
        Rows that it forecasts, until the next refit
    """

    train: slice
    test: slice


def walk_forward_folds(
    n_rows: int,
    *,
    train_size: int,
    refit_every: int,
    expanding: bool = True,
    purge: int = 0,
) -> tuple[Fold, ...]:
    """Folds of a walk-forward: fit, forecast ``refit_every`` rows, move on, fit again.

    The test slices follow one another without gap from row ``train_size`` to the end.

    Parameters
    ----------
    n_rows : int
        Rows of the dataset
    train_size : int
        Rows before the first forecast; with ``expanding=False`` the reach of every later fit too
    refit_every : int
        Rows between refits (252 is yearly on daily data); the last fold may be shorter
    expanding : bool
        True fits on everything so far, False on the last ``train_size`` rows
    purge : int
        Rows left out between training and test: ``horizon - 1``. Stand at the close before the
        first test row: a five-day target that began yesterday has four days still to come, so
        nobody could have traded on a model fitted to it. It is the last ``horizon - 1`` targets
        that are unfinished then

    Returns
    -------
    tuple of Fold

    Raises
    ------
    InvalidInputError
        If a size is not a whole number in its range, or purging leaves no training row.
    TooFewRowsError
        If no row is left to forecast.

    Examples
    --------
    >>> from regimeslot.windows import walk_forward_folds
    >>> for fold in walk_forward_folds(10, train_size=4, refit_every=3, purge=1):
    ...     print(fold.train.start, fold.train.stop, "->", fold.test.start, fold.test.stop)
    0 3 -> 4 7
    0 6 -> 7 10
    """
    for label, value, least in (
        ("n_rows", n_rows, 0),
        ("train_size", train_size, 1),
        ("refit_every", refit_every, 1),
        ("purge", purge, 0),
    ):
        _require_count(label, value, least)
    if purge >= train_size:
        raise InvalidInputError(
            f"purge must be smaller than train_size={train_size}, got {purge}: "
            "no training row would be left"
        )
    if train_size >= n_rows:
        raise TooFewRowsError(
            f"train_size={train_size} leaves nothing to forecast in {n_rows} rows: "
            "take a smaller train_size or a longer series"
        )
    return tuple(
        Fold(
            train=slice(0 if expanding else start - train_size, start - purge),
            test=slice(start, min(start + refit_every, n_rows)),
        )
        for start in range(train_size, n_rows, refit_every)
    )


def fold_masks(folds: Sequence[Fold], n_rows: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Train and test rows of every fold as masks over one shared table of rows.

    Parameters
    ----------
    folds : sequence of Fold
        As from :func:`walk_forward_folds`
    n_rows : int
        Rows of the table

    Returns
    -------
    train, test : bool ndarray (n_folds, n_rows)

    Raises
    ------
    InvalidInputError
        If a fold reaches beyond the table.

    Examples
    --------
    >>> from regimeslot.windows import fold_masks, walk_forward_folds
    >>> train, test = fold_masks(walk_forward_folds(5, train_size=3, refit_every=1), 5)
    >>> train.astype(int).tolist(), test.astype(int).tolist()
    ([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    """
    _require_count("n_rows", n_rows, 0)
    train = np.zeros((len(folds), n_rows), dtype=bool)
    test = np.zeros_like(train)
    for i, fold in enumerate(folds):
        if max(fold.train.stop, fold.test.stop) > n_rows:
            raise InvalidInputError(
                f"fold {i} reaches row {max(fold.train.stop, fold.test.stop)} of a table with "
                f"{n_rows} rows: make the folds for this table"
            )
        train[i, fold.train] = True
        test[i, fold.test] = True
    return train, test


def _require_count(label: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidInputError(f"{label} must be a whole number >= {least}, got {value!r}")
