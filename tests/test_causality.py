"""assert_causal finds the leaks that people make, and lets honest code pass."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from regimeslot.causality import assert_causal
from regimeslot.errors import CausalityError, InvalidInputError

N = 120


@pytest.fixture
def prices():
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(N)))
    return pd.DataFrame(
        {"Close": close, "High": close * 1.01},
        index=pd.bdate_range("2020-01-01", periods=N, name="Date"),
    )


# ------------------------------------------------------------------ features


def honest(p):
    return np.log(p).diff().rolling(5).mean().shift(1)


def unlagged(p):
    return np.log(p).diff()


def centred(p):
    return p.rolling(5, center=True).mean().shift(1)


def standardised(p):
    r = np.log(p).diff()
    return ((r - r.mean()) / r.std()).shift(1)


def tomorrow(p):
    return p.shift(-1)


def backfilled(p):
    return p.where(p["Close"] > p["Close"].cummax() * 0.99).bfill().shift(1)


def min_max_scaled(p):
    return (p / p.max()).shift(1)


def length_dependent(p):
    return p.shift(1) * len(p)


def dropped_by_the_last_row(p):
    return p.shift(1)[p["Close"] < 1.5 * p["Close"].iloc[-1]]


@pytest.mark.parametrize("rows", [None, [30, N - 1]])
def test_honest_features_pass(prices, rows):
    assert_causal(honest, prices, rows=rows)
    assert_causal(honest, prices["Close"], rows=rows, rtol=0, atol=0)
    assert_causal(lambda p: p.cumsum(), prices, lag=0)
    assert_causal(lambda x: np.r_[np.nan, x[:-1]], prices["Close"].to_numpy())


@pytest.mark.parametrize(
    "leak",
    [
        unlagged,
        centred,
        standardised,
        tomorrow,
        backfilled,
        min_max_scaled,
        length_dependent,
        dropped_by_the_last_row,
    ],
)
def test_leaking_features_are_caught(prices, leak):
    with pytest.raises(CausalityError, match=f"^{leak.__name__} looks ahead: row 2020-"):
        assert_causal(leak, prices)


def test_a_leak_of_one_column_is_named(prices):
    def one_bad(p):
        return pd.DataFrame({"good": p["Close"].shift(1), "bad": p["Close"]})

    with pytest.raises(CausalityError, match=r"row 2020-02-26 .*column 'bad' was .* become noise"):
        assert_causal(one_bad, prices, rows=[40])


def test_columns_that_depend_on_the_future_are_caught(prices):
    def chosen(p):
        return p.shift(1)[[c for c in p.columns if p[c].iloc[-1] < 1e4]]

    with pytest.raises(CausalityError, match="its columns were"):
        assert_causal(chosen, prices)


def test_a_longer_lag_is_checked_as_such(prices):
    assert_causal(lambda p: p.shift(2), prices, lag=2)
    with pytest.raises(CausalityError):
        assert_causal(lambda p: p.shift(1), prices, lag=2)
    with pytest.raises(CausalityError):
        assert_causal(lambda p: p.shift(-1), prices, lag=0)


def test_several_inputs_are_cut_by_label(prices):
    weekly = prices["Close"].iloc[::5]

    def last_week(p, w):
        return w.reindex(p.index, method="ffill").shift(1)

    assert_causal(last_week, prices, weekly)

    def this_week(p, w):
        return w.reindex(p.index, method="bfill").shift(1)

    with pytest.raises(CausalityError, match="this_week"):
        assert_causal(this_week, prices, weekly)


@dataclasses.dataclass(frozen=True)
class Holder:
    frame: pd.DataFrame
    ticker: str = "ABC"


def test_price_holders_and_text_columns(prices):
    held = Holder(prices.assign(Note="x"))
    assert_causal(lambda h: h.frame["Close"].shift(1), held)
    with pytest.raises(CausalityError):
        assert_causal(lambda h: h.frame["Close"], held)


@dataclasses.dataclass(frozen=True)
class Built:
    X: pd.DataFrame
    y: pd.Series
    next_X: pd.DataFrame  # noqa: N815


def test_the_row_for_tomorrow_is_compared_with_the_row_it_becomes(prices):
    def build(p, fault=0.0):
        known = p[["Close"]]
        return Built(known.shift(1).iloc[1:], p["Close"].iloc[1:], known.iloc[-1:] + fault)

    assert_causal(build, prices)
    with pytest.raises(CausalityError, match="cut off"):
        assert_causal(lambda p: build(p, fault=1e-3), prices)


def test_rewritten_bars_stay_bars(prices):
    def strict(p):
        if (p["High"] < p["Close"]).any() or (p <= 0).any().any():
            raise ValueError("not a bar")
        return p.shift(1)

    assert_causal(strict, prices, n_rows=10)


# ------------------------------------------------------------------ models


@dataclasses.dataclass(frozen=True)
class Forecast:
    locations: np.ndarray
    scales: np.ndarray
    labels: tuple = ("one",)


class Filter:
    """An honest forecaster: a line in x, and a scale that follows past errors."""

    shared: dict | None = None

    def fit(self, X, y):
        self.mean_, self.std_ = X.mean(axis=0), X.std(axis=0)
        self.y_std_ = float(np.std(y))
        return self

    def scaled(self, X):
        return np.asarray((X - self.mean_) / self.std_)

    def weights(self, error):
        return np.array([0.9 ** np.arange(t)[::-1] @ error[:t] for t in range(len(error))])

    def predict(self, X, y=None):
        location = 0.1 * self.scaled(X).sum(axis=1)
        error = np.zeros(len(X)) if y is None else np.abs(np.asarray(y))
        scale = self.y_std_ + self.weights(error)
        return Forecast(location[:, None], scale[:, None])


class Smoothed(Filter):
    """Uses what all the errors say about each row, as smoothed probabilities do."""

    def weights(self, error):
        t = np.arange(len(error))
        return 0.9 ** np.abs(t[:, None] - t) @ error


class Filtered(Filter):
    """Uses the error of its own row: filtered where it should be predicted."""

    def weights(self, error):
        return super().weights(error) + error


class ScaledOnAll(Filter):
    """Standardises the rows that it is given to predict by their own moments."""

    def scaled(self, X):
        return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))


class NextRow(Filter):
    """Off by one: reads the next row of X."""

    def scaled(self, X):
        z = super().scaled(X)
        return np.r_[z[1:], z[-1:]]


class FrozenPeek(Filter):
    """Honest with y; without y it centres on all the rows ahead."""

    def predict(self, X, y=None):
        forecast = super().predict(X, y)
        if y is None:
            shift = np.full((len(X), 1), float(np.mean(np.asarray(X))))
            return dataclasses.replace(forecast, locations=forecast.locations + shift)
        return forecast


class Drifting(Filter):
    """Changes itself each time that it predicts."""

    def predict(self, X, y=None):
        self.y_std_ *= 1.01
        return super().predict(X, y)


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    index = pd.bdate_range("2020-01-01", periods=N)
    X = pd.DataFrame(rng.standard_normal((N, 2)), index=index, columns=["a", "b"])
    return X, pd.Series(rng.standard_normal(N), index=index)


def test_honest_models_pass(rows):
    X, y = rows
    model = Filter()
    assert_causal(model, X, y)
    assert_causal(model, X.to_numpy(), y.to_numpy(), train_size=50, rows=[50, 80, N - 1])
    assert_causal(model, Built(X, y, X.iloc[:1]))
    assert not hasattr(model, "mean_")  # the model that was handed in is not touched


@pytest.mark.parametrize(
    ("leak", "where"),
    [
        (Smoothed, r"column 'scales\[0\]' .* \(with y\)"),
        (Filtered, r"column 'scales\[0\]' .* \(with y\)"),
        (ScaledOnAll, r"column 'locations\[0\]' .* \(with y\)"),
        (NextRow, r"column 'locations\[0\]' .* become noise \(with y\)"),
        (FrozenPeek, r"column 'locations\[0\]' .* \(without y\)"),
    ],
)
def test_leaking_models_are_caught(rows, leak, where):
    with pytest.raises(CausalityError, match=f"^{leak.__name__} looks ahead: row 2020-.*{where}"):
        assert_causal(leak(), *rows)


def test_a_model_that_predicting_changes_is_caught(rows):
    with pytest.raises(CausalityError, match="Drifting looks ahead"):
        assert_causal(Drifting(), *rows)
    with pytest.raises(
        CausalityError, match=r"Drifting changes when it predicts: row .* asked again"
    ):
        assert_causal(Drifting(), *rows, rows=[])


def test_unfinished_targets_may_not_be_used(rows):
    X, y = rows

    class Delayed(Filter):
        def weights(self, error):
            return np.r_[0.0, 0.0, super().weights(error)[:-2]]

    class FiveDays(Filter):
        horizon = 5

    assert_causal(Delayed(), X, y, delay=2)
    assert_causal(Delayed(), X, y, delay=2, train_size=50, rows=[50])
    with pytest.raises(CausalityError):
        assert_causal(Delayed(), X, y, delay=3)
    with pytest.raises(CausalityError):
        assert_causal(FiveDays(), X, y)


def test_point_forecasters_without_y(rows):
    from sklearn.linear_model import LinearRegression

    assert_causal(LinearRegression(), *rows)


# ------------------------------------------------------------------ wrong use


def test_wrong_use(prices, rows):
    X, y = rows
    cases = [
        ((honest,), {}, "needs the data"),
        ((3, prices), {}, "must be a function of the data, or a model"),
        ((honest, prices), {"rows": [0]}, "rows must lie in 1 .. 119, got 0"),
        ((honest, prices), {"rows": [N]}, "got 120"),
        ((lambda p: p.iloc[50:], prices), {"rows": [20]}, "choose later rows"),
        ((lambda p: p.iloc[:0], prices), {}, "no row to check"),
        ((lambda p: np.zeros(3), prices), {}, "must have the 120 rows of the data, got 3"),
        ((lambda p: p.reset_index(), prices[["Close"]]), {}, "carry labels of the data's rows"),
        ((lambda p, a: p.shift(1), prices, np.zeros(3)), {}, "array beside data of 120 rows"),
        ((Filter(), X), {}, "X and y with the same rows"),
        ((Filter(), X, y[:-1]), {}, "X and y with the same rows"),
        ((Filter(), X, y), {"train_size": N - 1}, "at least 2 to forecast, got 119 of 120"),
        ((Filter(), X, y), {"rows": [3]}, "rows must lie in 80 .. 119, got 3"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            assert_causal(*arguments, **options)
