"""Windows are views that end with their own row; folds cover the rows once, without look-ahead."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.windows import Fold, fold_masks, rolling_windows, walk_forward_folds


@given(n=st.integers(1, 30), d=st.integers(1, 4), length=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_each_window_ends_with_its_own_row(n, d, length):
    X = np.arange(float(n * d)).reshape(n, d)
    if length > n:
        with pytest.raises(TooFewRowsError, match=f"window of {length} rows .* into {n}"):
            rolling_windows(X, length)
        return
    windows = rolling_windows(X, length)
    assert windows.shape == (n - length + 1, length, d)
    for t in range(length - 1, n):
        np.testing.assert_array_equal(windows[t - length + 1], X[t - length + 1 : t + 1])


def test_windows_share_memory_and_cannot_be_written():
    X = np.zeros((1000, 3))
    windows = rolling_windows(X, 250)
    assert np.shares_memory(windows, X)
    assert windows.strides == (24, 24, 8)
    with pytest.raises(ValueError, match="read-only"):
        windows[0, 0, 0] = 1.0
    X[5, 1] = 7.0
    assert windows[0, 5, 1] == windows[5, 0, 1] == 7.0


def test_windows_of_frames_and_vectors():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    np.testing.assert_array_equal(rolling_windows(frame, 3)[0], frame.to_numpy())
    assert rolling_windows([1, 2, 3], 2).shape == (2, 2, 1)
    with pytest.raises(InvalidInputError, match=r"shape \(n, d\) or \(n,\), got \(2, 2, 2\)"):
        rolling_windows(np.zeros((2, 2, 2)), 1)


@pytest.mark.parametrize("length", [0, -1, 2.5, True, "3"])
def test_window_length_must_be_a_count(length):
    with pytest.raises(InvalidInputError, match="length must be a whole number >= 1"):
        rolling_windows(np.zeros((5, 1)), length)


@given(
    n=st.integers(2, 200),
    train=st.integers(1, 199),
    every=st.integers(1, 60),
    purge=st.integers(0, 5),
    expanding=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_folds_cover_the_rest_once_and_fit_on_finished_targets(n, train, every, purge, expanding):
    if train >= n or purge >= train:
        with pytest.raises((TooFewRowsError, InvalidInputError)):
            walk_forward_folds(
                n, train_size=train, refit_every=every, purge=purge, expanding=expanding
            )
        return
    folds = walk_forward_folds(
        n, train_size=train, refit_every=every, purge=purge, expanding=expanding
    )
    trained, tested = fold_masks(folds, n)
    np.testing.assert_array_equal(tested.sum(axis=0), np.arange(n) >= train)
    assert all(fold.test.stop - fold.test.start == every for fold in folds[:-1])
    for fold, mask in zip(folds, trained, strict=True):
        rows = np.flatnonzero(mask)
        horizon = purge + 1
        last_day_of_targets = rows + horizon - 1
        assert last_day_of_targets.max() == fold.test.start - 1  # none missing, none too many
        assert rows[0] == (0 if expanding else fold.test.start - train)
        assert (np.diff(rows) == 1).all()


def test_folds_by_hand():
    assert walk_forward_folds(7, train_size=3, refit_every=2, expanding=False) == (
        Fold(slice(0, 3), slice(3, 5)),
        Fold(slice(2, 5), slice(5, 7)),
    )
    assert walk_forward_folds(6, train_size=5, refit_every=252, purge=4) == (
        Fold(slice(0, 1), slice(5, 6)),
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_size": 10}, TooFewRowsError, "train_size=10 leaves nothing .* in 10 rows"),
        ({"train_size": 0}, InvalidInputError, "train_size must be a whole number >= 1, got 0"),
        ({"refit_every": 0}, InvalidInputError, "refit_every must be a whole number >= 1"),
        ({"purge": -1}, InvalidInputError, "purge must be a whole number >= 0"),
        ({"purge": 4}, InvalidInputError, "smaller than train_size=4, got 4"),
        ({"n_rows": 2.0}, InvalidInputError, "n_rows must be a whole number"),
    ],
)
def test_folds_refuse(changes, error, message):
    options = {"n_rows": 10, "train_size": 4, "refit_every": 2} | changes
    with pytest.raises(error, match=message):
        walk_forward_folds(options.pop("n_rows"), **options)


def test_masks_need_the_table_of_their_folds():
    folds = walk_forward_folds(10, train_size=4, refit_every=2)
    with pytest.raises(InvalidInputError, match="fold 2 reaches row 10 of a table with 9 rows"):
        fold_masks(folds, 9)
    train, test = fold_masks((), 3)
    assert train.shape == test.shape == (0, 3)
