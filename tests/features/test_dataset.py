"""make_dataset and Dataset: alignment, targets, slices, and what they refuse."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.causality import assert_causal
from regimeslot.errors import InvalidInputError, PriceError, TooFewRowsError
from regimeslot.features import OFFSET, RETURN, Dataset, make_dataset, next_row


def prices(n=320, seed=0, freq="B"):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(0.01 * rng.standard_t(4, n)))
    spread = 0.01 * close * rng.random(n)
    return pd.DataFrame(
        {"Open": close, "High": close + spread, "Low": close - spread / 2, "Close": close},
        index=pd.date_range("2010-01-04", periods=n, freq=freq, name="Date"),
    )


# ------------------------------------------------------------------ targets and alignment


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_target_is_the_return_over_the_horizon_from_its_row_on(horizon):
    frame = prices()
    data = make_dataset(frame, horizon=horizon)
    close = frame["Close"]
    for t in (253, 280, len(frame) - horizon):
        whole = np.log(close.iloc[t + horizon - 1] / close.iloc[t - 1])
        np.testing.assert_allclose(data.y.loc[close.index[t]], whole, rtol=1e-9, atol=1e-15)
        step = np.log(close.iloc[t] / close.iloc[t - 1])
        np.testing.assert_allclose(data.returns.loc[close.index[t]], step, rtol=1e-12, atol=0)
    assert data.index[-1] == close.index[len(frame) - horizon]
    assert data.delay == horizon - 1


def test_level_target_is_the_value_at_the_end_of_the_horizon():
    growth = pd.Series(np.random.default_rng(0).standard_normal(60))
    data = make_dataset(growth, transform="level", horizon=3, burn=12)
    assert data.y.loc[20] == growth.loc[22]
    assert data.X.loc[20, RETURN] == growth.loc[19]
    assert data.returns.loc[20] == growth.loc[20]


def test_diff_target_is_a_change():
    rate = pd.Series(np.random.default_rng(0).standard_normal(60).cumsum())
    data = make_dataset(rate, transform="diff", horizon=2, burn=12)
    np.testing.assert_allclose(data.y.loc[30], rate[31] - rate[29], rtol=1e-12, atol=1e-15)
    assert [c for c in data.X.columns if c.startswith(("lag", "mean"))] == [
        "lag_1",
        "lag_2",
        "lag_3",
        "lag_4",
        "mean_12",
    ]


@given(
    cut=st.integers(258, 318),
    horizon=st.sampled_from([1, 3]),
    features=st.sampled_from([("own",), ("own", "range"), ("own", "lags")]),
)
@settings(max_examples=20, deadline=None)
def test_tomorrows_row_is_the_row_that_the_next_price_would_have_had(cut, horizon, features):
    frame = prices()
    full = make_dataset(frame, features=features)
    then = make_dataset(
        frame.iloc[:cut], features=features, horizon=horizon, next_date=frame.index[cut]
    )
    pd.testing.assert_frame_equal(
        then.next_X, full.X.loc[[frame.index[cut]]], rtol=1e-12, atol=1e-14, check_freq=False
    )


def test_next_row_is_next_x():
    frame = prices()
    row = next_row(frame, next_date="2030-01-01")
    pd.testing.assert_frame_equal(row, make_dataset(frame, next_date="2030-01-01").next_X)
    assert row.index[0] == pd.Timestamp("2030-01-01")
    assert next_row(frame).index[0] == pd.Timestamp("2011-03-28")  # the weekday after a Friday
    bare = frame.reset_index(drop=True)
    assert next_row(bare).index[0] == len(frame)
    assert next_row(frame["Close"].reset_index(drop=True)).index[0] == len(frame)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"features": ("own", "range")},
        {"horizon": 5},
        {"transform": "diff"},
        {"transform": "level", "horizon": 2},
        {"features": ("own", "range", "lags"), "burn": 0},
    ],
    ids=str,
)
def test_no_row_looks_ahead(options):
    assert_causal(lambda frame: make_dataset(frame, **options), prices())


def test_no_row_looks_ahead_into_the_market():
    market = prices(340, seed=9).iloc[::2]
    assert_causal(lambda own, other: make_dataset(own, market=other), prices(), market)


def test_no_row_looks_ahead_by_a_single_bit():
    assert_causal(
        lambda frame: make_dataset(frame, features=("own", "range")), prices(), rtol=1e-13, atol=0
    )


def test_a_series_a_frame_and_prices_are_the_same():
    frame = prices()
    holder = types.SimpleNamespace(frame=frame, ticker="ABC", notes=("Loaded from a file.",))
    from_prices = make_dataset(holder)
    from_series = make_dataset(frame["Close"])
    pd.testing.assert_frame_equal(from_prices.X, from_series.X)
    assert from_prices.name == "ABC"
    assert from_prices.notes == ("Loaded from a file.",)
    assert from_series.name == "Close"
    assert make_dataset(frame, name="mine").name == "mine"


# ------------------------------------------------------------------ burn


@pytest.mark.parametrize(
    ("freq", "burn"), [("B", 252), ("D", 252), ("W", 52), ("MS", 12), ("QS", 12), ("YS", 12)]
)
def test_default_burn_is_a_year_of_rows_but_at_least_twelve(freq, burn):
    data = make_dataset(prices(270, freq=freq))
    assert data.skipped == burn
    assert len(data) == 269 - burn


def test_a_training_size_counts_returns_from_the_beginning_of_the_series():
    data = make_dataset(prices(320))
    assert data.rows_before(300) == 300 - 252
    assert data[10:].rows_before(300) == 300 - 252 - 10
    assert data.rows_before(100) == 0
    assert data.rows_before(10_000) == len(data)
    # The first 300 returns are those up to price 300; row 300 - 252 is the return after them.
    assert data.index[data.rows_before(300)] == prices(320).index[301]


def test_the_spacing_of_later_rows_does_not_change_the_burn():
    days = pd.bdate_range("2020-01-01", periods=300)
    sparse = days[:40].append(pd.date_range("2021-01-01", periods=260, freq="MS"))
    close = pd.Series(prices(300)["Close"].to_numpy(), index=sparse)
    assert make_dataset(close).skipped == 252


# ------------------------------------------------------------------ Dataset


def test_cut_leaves_what_was_known_at_that_close():
    frame = prices()
    data = make_dataset(frame, horizon=3)
    cut = data.cut(20)
    assert len(cut) == 20
    known_at = frame.index.get_loc(cut.index[-1]) + 2  # last day of the last whole target
    then = make_dataset(frame.iloc[: known_at + 1], horizon=3, next_date=frame.index[known_at + 1])
    pd.testing.assert_frame_equal(cut.X, then.X, rtol=1e-12, atol=1e-14, check_freq=False)
    pd.testing.assert_frame_equal(cut.next_X, then.next_X, rtol=1e-12, atol=1e-14, check_freq=False)


def test_slices_keep_parts_together():
    data = make_dataset(prices())
    part = data[5:9]
    assert part.index.equals(data.index[5:9])
    assert part.returns.equals(data.returns.iloc[5:9])
    pd.testing.assert_frame_equal(part.next_X, data.X.iloc[9:10])
    pd.testing.assert_frame_equal(data[5:].next_X, data.next_X)
    weekly = make_dataset(prices(), horizon=4)
    shorter = weekly.cut(len(weekly) - 1)  # its next row is one whose target is not whole
    pd.testing.assert_frame_equal(shorter.next_X, weekly.unfinished_X.iloc[-1:])
    pd.testing.assert_frame_equal(
        shorter.unfinished_X, pd.concat([weekly.X.iloc[-1:], weekly.unfinished_X.iloc[:2]])
    )
    assert len(data[9:5]) == 0
    with pytest.raises(InvalidInputError, match="slice without step"):
        data[::2]
    with pytest.raises(InvalidInputError, match="slice without step"):
        data[3]


def test_dataset_is_frozen_and_shows_itself():
    data = make_dataset(prices(), name="ABC")
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.horizon = 2
    assert "'ABC', 67 rows, 17 columns, 2010-12-23 to" in repr(data)
    assert "0 rows" in repr(data[:0])


def simple(**changes):
    rows = pd.RangeIndex(3)
    parts = {
        "X": pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=rows),
        "y": pd.Series([1.0, 2.0, 3.0], index=rows),
    }
    return Dataset(**(parts | changes))


def test_returns_are_y_for_one_step():
    data = simple()
    assert data.returns is data.y


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"skipped": -1}, "skipped at least 0"),
        ({"transform": "log"}, "transform must be one of"),
        ({"horizon": 2}, "needs returns="),
        ({"y": pd.Series([1.0, 2.0])}, r"y must stand on the index of X \(3 rows\)"),
        ({"returns": pd.Series([1.0, 2.0, 3.0], index=[1, 2, 3])}, "returns must stand on"),
        ({"y": pd.Series([1.0, np.nan, 3.0])}, "y must be finite, got nan in row 1"),
        ({"X": pd.DataFrame({"x": [1.0, 2.0, np.inf]})}, "got inf in row 2, column 'x'"),
        ({"next_X": pd.DataFrame({"z": [1.0]})}, "next_X must be one row with the columns of X"),
        ({"next_X": pd.DataFrame({"x": [np.nan]})}, "next_X must be finite"),
    ],
)
def test_dataset_refuses_parts_that_do_not_fit(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        simple(**changes)


# ------------------------------------------------------------------ what make_dataset refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "rang"}, "got 'rang'; did you mean 'range'"),
        ({"features": ("own", "laggs")}, "did you mean 'lags'"),
        (
            {"features": "xyz"},
            "among 'default', 'own', 'range', 'market', 'cross', 'lags', got 'xyz'$",
        ),
        ({"transform": "logreturn"}, "did you mean 'log-return'"),
        ({"features": "market"}, "need market="),
        ({"horizon": 0}, "horizon must be a whole number >= 1, got 0"),
        ({"horizon": 1.5}, "horizon must be a whole number"),
        ({"burn": -1}, "burn must be a whole number >= 0"),
        ({"next_date": "2010-05-01"}, "next_date must lie after the last price"),
        ({"market": pd.Series([1.0, 2.0, 3.0])}, "same kind of index"),
        ({"market": prices()["Close"].set_axis(pd.bdate_range("2040", periods=320))}, "overlap"),
        ({"market": prices().iloc[:1]}, "must overlap"),
        ({"market": prices().tz_localize("UTC")}, "dates in UTC beside dates without time zone"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidInputError, match=message):
        make_dataset(prices(), **options)


def test_range_needs_bars():
    with pytest.raises(InvalidInputError, match="Open, High, Low missing"):
        make_dataset(prices()[["Close"]], features="range")


@pytest.mark.parametrize("bad", [{"Price": [1.0]}, [1.0, 2.0], pd.DataFrame({"Price": [1.0]})])
def test_wrong_holder(bad):
    with pytest.raises(InvalidInputError, match="must be Prices, a Series, or a DataFrame with a"):
        make_dataset(bad)


def test_one_column_of_numbers_is_asked_for():
    frame = prices()
    with pytest.raises(InvalidInputError, match="prices must have one Close column"):
        make_dataset(pd.concat([frame, frame], axis=1))
    with pytest.raises(InvalidInputError, match="prices must hold numbers: could not convert"):
        make_dataset(frame["Close"].map(lambda value: f"{value} USD"))
    negative = frame["Close"] - 60
    with pytest.raises(PriceError, match="log-returns of market need positive values"):
        make_dataset(frame, market=negative)


def test_columns_with_the_names_of_attributes_do_no_harm():
    frame = prices().assign(frame=1.0, ticker="x", notes="y", name="z")
    data = make_dataset(frame)
    assert (data.name, data.notes) == ("series", ())
    pd.testing.assert_frame_equal(data.X, make_dataset(prices()).X)
    assert_causal(make_dataset, frame)


def test_periods_serve_as_an_index():
    quarterly = prices(80)["Close"].set_axis(pd.period_range("2000Q1", periods=80, freq="Q"))
    data = make_dataset(quarterly)
    assert data.skipped == 12
    assert data.next_X.index.equals(pd.period_range("2020Q1", periods=1, freq="Q"))


def test_gaps_and_order():
    frame = prices()
    holed = frame.copy()
    holed.iloc[7, 3] = np.nan
    with pytest.raises(PriceError, match=r"got nan on 2010-01-13 \(1 of 320 rows\)"):
        make_dataset(holed)
    with pytest.raises(PriceError, match="ordered by date"):
        make_dataset(frame[::-1])
    with pytest.raises(PriceError, match="without repeats"):
        make_dataset(pd.concat([frame, frame.iloc[-1:]]))
    with pytest.raises(PriceError, match="market must be finite"):
        make_dataset(frame, market=holed)


def test_non_positive_and_unmoving_prices():
    close = prices()["Close"].copy()
    close.iloc[9] = -0.5
    with pytest.raises(PriceError, match=r'-0\.5 on 2010-01-15: .* use transform="diff"'):
        make_dataset(close)
    assert len(make_dataset(close, transform="diff")) == 67
    with pytest.raises(PriceError, match="prices never move: all 300 values are 7"):
        make_dataset(pd.Series(np.full(300, 7.0)))


def test_too_few_rows_says_how_many_are_needed():
    with pytest.raises(TooFewRowsError, match=r"need 258 prices .*horizon 5\), got 257"):
        make_dataset(prices(257), horizon=5)
    assert len(make_dataset(prices(258), horizon=5)) == 1
    with pytest.raises(TooFewRowsError, match="got 0"):
        make_dataset(pd.Series([], dtype=float))
    late = pd.Series(np.r_[np.full(40, 5.0), 6.0])
    with pytest.raises(TooFewRowsError, match="defined from return"):
        make_dataset(late, burn=0)


def test_offset_is_in_units_of_y():
    data = make_dataset(prices(1200))
    ratio = np.exp(data.X[OFFSET]).mean() / data.y.std()
    assert 0.7 < ratio < 1.3
