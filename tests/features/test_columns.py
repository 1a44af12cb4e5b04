"""Feature columns against explicit loops over truncated data, and their invariances."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.features import OFFSET, RETURN, make_dataset
from regimeslot.features.columns import Volatility, ewma, own_columns

RTOL = 1e-9
ATOL = 1e-11


def walk(n, seed=0, scale=0.01, start="2000-01-03", freq="B"):
    """Bars of a fat-tailed random walk with drifting volatility."""
    rng = np.random.default_rng(seed)
    vol = scale * np.exp(0.5 * np.sin(np.arange(n) / 40))
    close = 100 * np.exp(np.cumsum(vol * rng.standard_t(4, n)))
    opened = close * np.exp(0.3 * vol * rng.standard_normal(n))
    high = np.maximum(close, opened) * np.exp(vol * rng.random(n))
    low = np.minimum(close, opened) * np.exp(-vol * rng.random(n))
    return pd.DataFrame(
        {"Open": opened, "High": high, "Low": low, "Close": close},
        index=pd.date_range(start, periods=n, freq=freq, name="Date"),
    )


# ------------------------------------------------------------------ the slow oracle


def slow_mean(values, half_life):
    weights = [0.5 ** ((len(values) - 1 - i) / half_life) for i in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def slow_floor(r):
    return 1e-4 * sum(abs(v) for v in r) / len(r)


def slow_vol(r, half_life):
    size = [abs(v) for v in r]
    return math.sqrt(math.pi / 2) * slow_mean(size, half_life) + slow_floor(r)


def clip(value, bound=4.0):
    return max(-bound, min(bound, value))


def slow_own(closes):
    """Every own column from the closes that are known, one number at a time."""
    r = [math.log(b / a) for a, b in itertools.pairwise(closes)]
    base, e21, floor = slow_vol(r, 11), slow_vol(r, 21), slow_floor(r)
    row = {OFFSET: math.log(base), RETURN: r[-1]}
    for h in (2, 5, 21, 63, 252):
        row[f"vol_{h}"] = math.log(slow_vol(r, h) / base)
    row["log_vol_21"] = math.log(e21)
    row["tail_21"] = math.log((math.sqrt(slow_mean([v * v for v in r], 21)) + floor) / e21)
    for h in (5, 21):
        down = slow_mean([-v if v < 0 else 0.0 for v in r], h)
        both = slow_mean([abs(v) for v in r], h)
        row[f"downside_{h}"] = (down + floor / 2) / (both + floor) - 0.5
    row["last_z"] = clip(r[-1] / base)
    row["last_abs_z"] = abs(row["last_z"])
    for n in (5, 21, 252):
        row[f"trend_{n}"] = clip(math.fsum(r[-n:]) / (e21 * math.sqrt(n)))
    logs = [math.log(c) for c in closes]
    peak = max(logs[1:][-252:])
    row["drawdown_252"] = max(-8.0, (logs[-1] - peak) / (e21 * math.sqrt(252)))
    return row


def slow_range(bars):
    closes = bars["Close"].tolist()
    r = [math.log(b / a) for a, b in itertools.pairwise(closes)]
    daily, location = [], 0.0
    for (o, h, low, c), move in zip(bars.iloc[1:].to_numpy().tolist(), r, strict=True):
        if h > low:
            variance = 0.5 * math.log(h / low) ** 2 - (2 * math.log(2) - 1) * math.log(c / o) ** 2
            daily.append(math.sqrt(max(variance, 0.0)))
            location = ((c - low) - (h - c)) / (h - low)
        else:
            daily.append(math.sqrt(math.pi / 2) * abs(move))
            location = 0.0
    base, floor = slow_vol(r, 11), slow_floor(r)
    row = {f"range_{h}": math.log((slow_mean(daily, h) + floor) / base) for h in (1, 2, 5, 21, 63)}
    return row | {
        "range_last": math.log((daily[-1] + floor) / base),
        "close_location": location,
    }


def slow_market(closes):
    r = [math.log(b / a) for a, b in itertools.pairwise(closes)]
    return {
        "market_vol_2": math.log(slow_vol(r, 2) / slow_vol(r, 63)),
        "market_vol_5": math.log(slow_vol(r, 5) / slow_vol(r, 63)),
        "market_vol_21": math.log(slow_vol(r, 21) / slow_vol(r, 252)),
        "market_last_z": clip(r[-1] / slow_vol(r, 21)),
    }


@pytest.mark.parametrize("t", [6, 30, 251, 253, 254, 300, 399])
def test_each_column_equals_a_loop_over_truncated_prices(t):
    bars = walk(400, seed=1)
    bars.iloc[40:50, :3] = bars.iloc[40:50, [3]].to_numpy()  # flat bars: the range is unknown
    index = walk(420, seed=2, start="1999-12-20").iloc[::2]  # trades on every other day
    data = make_dataset(bars, features=("own", "range"), market=index, burn=0)
    date = bars.index[t]
    known = bars.iloc[:t]
    expected = slow_own(known["Close"].tolist()) | slow_range(known)
    expected |= slow_market(index.loc[: known.index[-1], "Close"].tolist())
    assert list(data.X.columns) == list(expected)
    np.testing.assert_allclose(data.X.loc[date], list(expected.values()), rtol=RTOL, atol=ATOL)


def test_fifteen_own_columns_beside_the_two_reserved_ones():
    data = make_dataset(walk(300))
    assert list(data.X.columns[:2]) == [OFFSET, RETURN]
    assert data.X.shape[1] == 2 + 15


def test_lags_and_their_mean():
    values = pd.Series(np.random.default_rng(3).standard_normal(40), name="growth")
    data = make_dataset(values, transform="level", features="lags", burn=12)
    t = 25
    past = values.to_numpy()[:t]
    row = data.X.loc[t]
    lags = row[["lag_1", "lag_2", "lag_3", "lag_4"]]
    np.testing.assert_allclose(lags, past[::-1][:4], rtol=0, atol=0)
    np.testing.assert_allclose(row["mean_12"], past[-12:].mean(), rtol=RTOL, atol=0)
    np.testing.assert_allclose(row[RETURN], past[-1], rtol=0, atol=0)


def test_ewma_weights_halve_with_each_half_life():
    impulse = np.zeros(60)
    impulse[10] = 1.0
    response = ewma(impulse, 5) * (1 - 0.5 ** (np.arange(1, 61) / 5))  # undo the growing total
    np.testing.assert_allclose(response[15] / response[10], 0.5, rtol=1e-12, atol=0)
    np.testing.assert_allclose(ewma(np.full(60, 3.0), 5), 3.0, rtol=1e-12, atol=0)


# ------------------------------------------------------------------ invariances

FREE = [f"vol_{h}" for h in (2, 5, 21, 63, 252)] + [
    "tail_21",
    "downside_5",
    "downside_21",
    "last_z",
    "last_abs_z",
    "trend_5",
    "trend_21",
    "trend_252",
    "drawdown_252",
]


@given(
    exponent=st.sampled_from([-6, -3, -1, 3]),
    seed=st.integers(0, 1000),
    zeros=st.integers(0, 60),
)
@settings(max_examples=25, deadline=None)
def test_the_size_of_returns_moves_only_the_two_levels(exponent, seed, zeros):
    rng = np.random.default_rng(seed)
    r = rng.standard_t(3, 120)
    r[50 : 50 + zeros] = 0.0
    factor = 10.0**exponent
    small, large = own_columns(Volatility(r)), own_columns(Volatility(factor * r))
    assert set(FREE) | {"log_vol_21"} == set(small)
    for column in FREE:
        np.testing.assert_allclose(large[column], small[column], rtol=1e-7, atol=1e-9)
    shift = large["log_vol_21"] - small["log_vol_21"]
    np.testing.assert_allclose(shift, math.log(factor), rtol=1e-9, atol=1e-9)


def test_scaling_a_rate_shifts_the_offset_through_make_dataset():
    rate = pd.Series(np.random.default_rng(5).standard_normal(300).cumsum())
    one, other = (
        make_dataset(rate * factor, transform="diff", features="own") for factor in (1.0, 1e3)
    )
    np.testing.assert_allclose(other.X[OFFSET] - one.X[OFFSET], math.log(1e3), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.X[FREE], one.X[FREE], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(other.y, 1e3 * one.y, rtol=1e-9, atol=0)


def test_prices_in_another_currency_give_the_same_rows():
    bars = walk(300, seed=4)
    one = make_dataset(bars, features=("own", "range"))
    other = make_dataset(bars * 1.3e4, features=("own", "range"))
    np.testing.assert_allclose(other.X, one.X, rtol=1e-7, atol=1e-9)


@given(
    run=st.integers(1, 3000),
    jump=st.sampled_from([1e-9, 1e-4, 0.5]),
    first=st.integers(0, 40),
)
@settings(max_examples=15, deadline=None)
def test_a_pegged_price_gives_finite_bounded_features(run, jump, first):
    """Long runs without any move, then a jump: the Hong Kong dollar, the franc of 2015."""
    r = np.zeros(first + run + 30)
    r[first] = 0.01
    r[first + run :] = jump
    columns = own_columns(Volatility(r))
    table = np.column_stack([columns[c] for c in FREE])[first:]
    assert np.isfinite(table).all()
    assert np.abs(table).max() < 25


def test_the_drawdown_of_a_halted_stock_is_bounded():
    r = np.r_[0.01 * np.random.default_rng(0).standard_normal(100), -2.0, np.zeros(140)]
    drawdown = own_columns(Volatility(r))["drawdown_252"]
    assert drawdown[100] < -1
    assert drawdown[-1] == -8.0


def test_rows_before_the_first_move_are_left_out():
    closes = pd.Series(np.r_[np.full(20, 5.0), 5.0 + np.random.default_rng(0).random(30)])
    data = make_dataset(closes, burn=0)
    assert data.index[0] == 21  # the first move is the return into row 20
    assert data.skipped == 20


def test_a_half_known_bar_counts_as_missing():
    bars = walk(60)
    broken = bars.copy()
    broken.loc[bars.index[30], "Open"] = np.nan
    broken.loc[bars.index[31], "Low"] = -1.0
    data = make_dataset(broken, features="range", burn=0)
    assert data.X.loc[bars.index[31], "close_location"] == 0.0
    assert "2 of 59 daily bars" in data.notes[0]
    same = make_dataset(bars, features="range", burn=0)
    pd.testing.assert_frame_equal(data.X.loc[: bars.index[30]], same.X.loc[: bars.index[30]])


def test_the_market_is_read_as_it_stood_on_each_close():
    own = walk(100, seed=1)
    market = walk(100, seed=2).drop(walk(100).index[60])  # the market is closed that day
    data = make_dataset(own, market=market, burn=0)
    names = [c for c in data.X.columns if c.startswith("market")]
    assert len(names) == 4
    after_holiday = data.X.loc[own.index[61], names]
    np.testing.assert_allclose(after_holiday, data.X.loc[own.index[60], names], rtol=0, atol=0)


def test_a_market_that_ends_early_is_carried_forward_with_a_note():
    own, market = walk(100, seed=1), walk(90, seed=2)
    data = make_dataset(own, market=market, burn=0)
    assert "carried forward" in data.notes[0]
    assert data.index[-1] == own.index[-1]


def test_rows_before_the_market_begins_are_left_out():
    own, market = walk(100, seed=1), walk(100, seed=2).iloc[40:]
    data = make_dataset(own, market=market, burn=0)
    assert data.index[0] == own.index[42]  # first market return on row 41, known for row 42
