"""The cross-section: averages over other series by hand, causal, and robust to what others lack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from regimeslot.causality import assert_causal
from regimeslot.errors import CausalityError, InvalidInputError, PriceError
from regimeslot.features import make_dataset, other_series

COLUMNS = ["cross_vol_2", "cross_vol_5", "cross_vol_21", "cross_last_z", "cross_spread"]


def closes(rows: int = 340, seed: int = 0, start: str = "2015-01-05") -> pd.Series:
    moves = 0.01 * np.random.default_rng(seed).standard_t(5, rows)
    return pd.Series(
        100 * np.exp(moves.cumsum()), pd.bdate_range(start, periods=rows, name="Date"), name="P"
    )


def volatility(moves: np.ndarray, half_life: float) -> np.ndarray:
    """``e_h`` of every row, by its definition."""
    result = np.empty(len(moves))
    for t in range(len(moves)):
        weights = 0.5 ** (np.arange(t, -1, -1.0) / half_life)
        size = np.abs(moves[: t + 1])
        result[t] = np.sqrt(np.pi / 2) * weights @ size / weights.sum() + 1e-4 * size.mean()
    return result


def by_hand(series: pd.Series) -> pd.DataFrame:
    moves = np.diff(np.log(series.to_numpy()))
    e = {h: volatility(moves, h) for h in (2, 5, 21, 63, 252)}
    return pd.DataFrame(
        {
            "v2": np.log(e[2] / e[63]),
            "v5": np.log(e[5] / e[63]),
            "v21": np.log(e[21] / e[252]),
            "z": np.clip(moves / e[21], -4, 4),
        },
        index=series.index[1:],
    )


def test_columns_are_the_averages_over_the_others_of_the_day_before() -> None:
    others = [closes(seed=seed) for seed in (1, 2, 3)]
    data = make_dataset(closes(), others=others)
    assert list(data.X.columns[-5:]) == COLUMNS
    held = [by_hand(other) for other in others]
    mean = sum(held) / 3
    z = np.column_stack([table["z"] for table in held])
    spread = np.log(np.abs(z - z.mean(axis=1, keepdims=True)).mean(axis=1) + 0.05)
    wanted = np.column_stack([mean.to_numpy(), spread])
    rows = mean.index.get_indexer(data.X.index) - 1
    assert_allclose(data.X[COLUMNS], wanted[rows], rtol=1e-9, atol=1e-12)
    assert_allclose(data.next_X[COLUMNS], wanted[-1:], rtol=1e-9)


def test_no_row_looks_ahead_into_the_others() -> None:
    first, second, third = closes(seed=1), closes(seed=2).iloc[::2], closes(300, seed=3)
    assert_causal(
        lambda own, a, b, c: make_dataset(own, others=[a, b, c]), closes(), first, second, third
    )
    with pytest.raises(CausalityError):  # the test itself can fail
        assert_causal(
            lambda own, a, b: make_dataset(own, others=[a.shift(-1).ffill(), b]),
            closes(),
            first,
            closes(seed=4),
        )


def test_other_columns_stay_and_units_cancel() -> None:
    others = [closes(seed=1), closes(seed=2)]
    plain, data = make_dataset(closes()), make_dataset(closes(), others=others)
    assert_array_equal(data.X[plain.X.columns], plain.X)
    scaled = make_dataset(closes(), others=[7 * other for other in others])
    assert_allclose(scaled.X, data.X, rtol=1e-9, atol=1e-12)
    once = make_dataset(closes(), others=[other_series(other) for other in others])
    assert_array_equal(once.X, data.X)


def test_a_series_that_has_ended_is_left_out_and_not_carried_forward() -> None:
    stays, ends = [closes(seed=1), closes(seed=2)], closes(seed=3).iloc[:300]
    with_it = make_dataset(closes(), others=[*stays, ends]).X[COLUMNS]
    without = make_dataset(closes(), others=stays).X[COLUMNS]
    last = ends.index[-1]
    assert (with_it.loc[:last] != without.loc[:last]).to_numpy().mean() > 0.9
    # known for five rows after its last close, and one more for the lag
    later = with_it.index[with_it.index.get_loc(last) + 7 :]
    assert_allclose(with_it.loc[later], without.loc[later], rtol=1e-12)


def test_rows_with_too_few_others_are_zero_and_said() -> None:
    late = [closes(60, seed=1, start="2016-02-01"), closes(seed=2)]
    data = make_dataset(closes(), others=late)
    early = data.X.loc[: late[0].index[1], COLUMNS]
    assert len(early) > 10
    assert (early == 0.0).all(axis=None)
    assert (data.X.loc["2016-02-10":, COLUMNS] != 0.0).all(axis=None)
    (note,) = data.notes
    assert note.startswith("On 2")
    assert "fewer than two other series" in note


def test_rates_are_seen_by_their_changes() -> None:
    def rate(seed: int) -> pd.Series:
        return np.log(closes(seed=seed)) - 4.0  # also below zero

    data = make_dataset(rate(0), others=[rate(1), rate(2)], transform="diff")
    prices = make_dataset(closes(), others=[closes(seed=1), closes(seed=2)])
    assert_allclose(data.X[COLUMNS], prices.X[COLUMNS], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"others": [closes()]}, InvalidInputError, "needs 2 other series or more, got 1"),
        ({"features": ("own", "cross")}, InvalidInputError, "need others="),
        (
            {"others": [closes(), closes().reset_index(drop=True)]},
            InvalidInputError,
            "others must have the same kind of index as prices, got positions beside dates",
        ),
        ({"others": [closes(), -closes()]}, PriceError, "log-returns of others need positive"),
        ({"others": [closes(), 0 * closes() + 1]}, PriceError, "others never move"),
    ],
    ids=range(5),
)
def test_faults(options, error, message) -> None:
    with pytest.raises(error, match=message):
        make_dataset(closes(), **options)
