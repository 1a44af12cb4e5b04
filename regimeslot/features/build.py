"""From a price series to a dataset: transform, feature columns, the one-row lag, the target."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.features.columns import (
    OFFSET,
    RETURN,
    Columns,
    Volatility,
    lag_columns,
    market_columns,
    own_columns,
    range_columns,
    usable_bars,
)
from regimeslot.features.cross_section import (
    OtherSeries,
    cross_section_columns,
    newest_known,
)
from regimeslot.features.dataset import TRANSFORMS, Dataset, _day
from regimeslot.features.series import as_frame, kind_of_index, name_of, transformed
from regimeslot.prices.sessions import next_session

__all__ = ["make_dataset", "next_row", "other_series"]

FEATURES = ("own", "range", "market", "cross", "lags")

_BARS = ["Open", "High", "Low", "Close"]
_YEAR_BY_SPACING = ((5, 252), (10, 52))  # (days up to, rows a year); coarser series: 12
_SPACINGS_READ = 21  # rows whose spacing tells the frequency: fixed, so that later rows cannot


def make_dataset(
    prices: Any,
    *,
    horizon: int = 1,
    features: str | Sequence[str] = "default",
    transform: str = "log-return",
    market: Any = None,
    others: Sequence[Any] | None = None,
    burn: int | None = None,
    next_date: Hashable | None = None,
    name: str | None = None,
) -> Dataset:
    r"""Features known at each close and the return that follows, on the same rows.

    With ``r_t = log(P_t / P_{t-1})`` and ``e_h = sqrt(pi/2) EWMA_h(|r|)``, row t of ``X`` is a
    function of ``r_1 .. r_{t-1}`` alone and ``y_t = r_t + .. + r_{t+h-1}``.

    Parameters
    ----------
    prices : Prices, DataFrame or Series
        A ``Prices`` object, a frame with ``Close`` (and ``Open``, ``High``, ``Low``), or the
        closes alone, oldest first
    horizon : int
        Steps that a target covers. The last ``horizon - 1`` rows have no whole target and are
        left out
    features : "default" or sequence of {"own", "range", "market", "cross", "lags"}
        "own": fifteen columns of the series' past returns. "range": seven of its daily range,
        needs Open, High and Low. "market": four of ``market``; on whenever ``market`` is given.
        "cross": five of ``others``; on whenever those are given.
        "lags": the last four values and the mean of the last twelve. The default is "own", and
        "own" with "lags" for "diff" and "level", where the mean is forecastable
    transform : {"log-return", "diff", "level"}
        "log-return" for prices; "diff" for rates, whose changes are forecast; "level" for series
        that are already changes, such as growth rates (``y`` is the value at t+h-1, and volatility
        is that of the value's changes)
    market : Prices, DataFrame or Series, optional
        Another series on the same clock, usually the index. Each of its values is known from its
        own date on, so it must not close later in the day than ``prices`` does
    others : sequence of Prices, DataFrame, Series or OtherSeries, optional
        At least two more series of the same kind, usually stocks; the same holds for their closes.
        One that was read once by :func:`other_series` need not be read again for each dataset
    burn : int, optional
        Returns that only warm the features up. Default: a year of rows, but at least 12, judged
        by the spacing of the first dates (252 where the index holds no dates)
    next_date : optional
        Index label of the session after the last price. Default: the next session by the index
        (dates), else the next position
    name : str, optional
        Default: the ticker, or the name of the series

    Returns
    -------
    Dataset
        Its ``next_X`` is the feature row for the session after the last price

    Raises
    ------
    InvalidInputError
        For an unknown feature or transform, or columns that are not there.
    PriceError
        For gaps, an unordered index, a price that never moves, or non-positive prices under
        "log-return".
    TooFewRowsError
        Where no row is left after the burn.

    References
    ----------
    Garman and Klass (1980), On the estimation of security price volatilities from historical
    data, Journal of Business 53. Corsi (2009), A simple approximate long-memory model of realized
    volatility, Journal of Financial Econometrics 7.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import make_dataset
    >>> days = pd.bdate_range("2020-01-01", periods=400)
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(400)
    >>> data = make_dataset(pd.Series(100 * np.exp(steps.cumsum()), days), name="walk")
    >>> data.y.index[0], len(data)
    (Timestamp('2020-12-21 00:00:00'), 147)
    >>> data.next_X.shape, data.skipped
    ((1, 17), 252)
    """
    _check_horizon(horizon, burn)
    if transform not in TRANSFORMS:
        raise InvalidInputError(_unknown("transform", transform, TRANSFORMS))
    frame = as_frame(prices, "prices")
    groups = _feature_groups(features, transform, market is not None, others is not None)
    values, moves = transformed(frame["Close"], transform)
    rows = frame.index[1:]
    n = len(rows)
    if burn is None:
        burn = _default_burn(frame.index)
    needed = max(burn, 1) + horizon + 1
    if len(frame) < needed:
        raise TooFewRowsError(
            f"features need {needed} prices or more (burn {burn}, horizon {horizon}), "
            f"got {len(frame)}: take a longer series or a smaller burn="
        )

    vol = Volatility(moves)
    columns: Columns = {OFFSET: vol.log(11), RETURN: values}
    notes = [] if isinstance(prices, pd.DataFrame) else list(getattr(prices, "notes", ()))
    if "own" in groups:
        columns |= own_columns(vol)
    if "lags" in groups:
        columns |= lag_columns(values)
    if "range" in groups:
        bars = _bars(frame).iloc[1:]
        columns |= range_columns(bars, vol)
        notes += _flat_bar_notes(usable_bars(bars))
    if "market" in groups:
        other = as_frame(market, "market")
        columns |= _market_on(other, rows)
        notes += _stale_market_notes(other.index, rows)
    if others is not None:
        cross, few = cross_section_columns(_others_beside(others, transform, rows), rows)
        columns |= cross
        if few:
            notes.append(
                f"On {few} of {n} rows fewer than two other series were known; the features of "
                "the cross-section are 0 there."
            )

    # The one lag of the module: what is known at the close of row i is the X of row i + 1, and
    # the last row, which has no target yet, is what the next session is forecast from.
    known = np.column_stack(list(columns.values()))
    first = max(burn, 1, 1 + _first_finite(known))
    last = n - horizon + 1
    if last <= first:
        raise TooFewRowsError(
            f"the features are defined from return {first} on, but only the first {max(last, 0)} "
            "returns have a whole target: take a longer series"
        )
    target = _target(values, transform, horizon)
    index = rows[first:last]
    return Dataset(
        X=pd.DataFrame(known[first - 1 : last - 1], index=index, columns=list(columns)),
        y=pd.Series(target[first:last], index=index, name="y"),
        horizon=horizon,
        transform=transform,
        name=name or name_of(prices),
        returns=pd.Series(values[first:last], index=index, name="return"),
        notes=tuple(notes),
        unfinished_X=pd.DataFrame(known[last - 1 : -1], index=rows[last:], columns=list(columns))
        if horizon > 1
        else None,
        next_X=pd.DataFrame(known[-1:], index=_next_index(rows, next_date), columns=list(columns)),
        skipped=first,
    )


def next_row(prices: Any, **options: Any) -> pd.DataFrame:
    """Feature row (1, d) for the session after the last price: ``make_dataset(...).next_X``.

    Parameters
    ----------
    prices : Prices, DataFrame or Series
        As for :func:`make_dataset`
    **options
        As for :func:`make_dataset`; use those that the model was fitted with

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import next_row
    >>> closes = pd.Series(100 + np.sin(np.arange(30.0)))
    >>> float(next_row(closes, burn=10).loc[30, "last_return"].round(6))
    -0.009364
    """
    return cast(pd.DataFrame, make_dataset(prices, **options).next_X)


def other_series(prices: Any, *, transform: str = "log-return") -> OtherSeries:
    """What a series contributes to the cross-section of others, for ``make_dataset(others=...)``.

    Parameters
    ----------
    prices : Prices, DataFrame or Series
        As for :func:`make_dataset`
    transform : {"log-return", "diff", "level"}
        That of the datasets it is used for

    Raises
    ------
    PriceError
        For prices that :func:`make_dataset` would refuse.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import other_series
    >>> other_series(pd.Series(100 + np.sin(np.arange(30.0)))).values.shape
    (29, 4)
    """
    frame = as_frame(prices, "each of others")
    _, moves = transformed(frame["Close"], transform, "others")
    return OtherSeries.of(frame.index[1:], moves)


def _others_beside(others: Sequence[Any], transform: str, rows: pd.Index) -> list[OtherSeries]:
    held = [
        other if isinstance(other, OtherSeries) else other_series(other, transform=transform)
        for other in others
    ]
    for other in held:
        if kind_of_index(other.index) != kind_of_index(rows):
            raise InvalidInputError(
                "others must have the same kind of index as prices, got "
                f"{kind_of_index(other.index)} beside {kind_of_index(rows)}"
            )
    return held


def _check_horizon(horizon: int, burn: int | None) -> None:
    for label, value, least in (("horizon", horizon, 1), ("burn", burn, 0)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InvalidInputError(f"{label} must be a whole number >= {least}, got {value!r}")


def _feature_groups(
    features: str | Sequence[str], transform: str, has_market: bool, has_others: bool
) -> tuple[str, ...]:
    if isinstance(features, str):
        if features == "default":
            features = ("own",) if transform == "log-return" else ("own", "lags")
        else:
            features = (features,)
    for group in features:
        if group not in FEATURES:
            raise InvalidInputError(_unknown("features", group, ("default", *FEATURES)))
    if "market" in features and not has_market:
        raise InvalidInputError('features "market" need market=, the prices of another series')
    if "cross" in features and not has_others:
        raise InvalidInputError('features "cross" need others=, the prices of other series')
    given = (("market", has_market), ("cross", has_others))
    return (*features, *(group for group, has in given if has))


def _unknown(label: str, given: object, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{label} must be among {', '.join(map(repr, known))}, got {given!r}{hint}"


def _default_burn(index: pd.Index) -> int:
    """A year of rows, at least 12, from the spacing of the first rows."""
    if isinstance(index, pd.PeriodIndex):
        index = index[: _SPACINGS_READ + 1].to_timestamp()
    if not isinstance(index, pd.DatetimeIndex):
        return 252
    spacing = index[: _SPACINGS_READ + 1].to_series().diff().median()
    for days, rows in _YEAR_BY_SPACING:
        if not spacing > pd.Timedelta(days=days):  # also where one row leaves no spacing
            return rows
    return 12


def _bars(frame: pd.DataFrame) -> pd.DataFrame:
    missing = [c for c in _BARS if c not in frame.columns]
    if missing:
        raise InvalidInputError(
            f'features "range" need Open, High, Low and Close, {", ".join(missing)} missing: '
            "load whole bars or leave the range out"
        )
    return frame[_BARS]


def _flat_bar_notes(usable: NDArray[np.bool_]) -> list[str]:
    flat = int((~usable).sum())
    if not flat:
        return []
    return [
        f"{flat} of {len(usable)} daily bars are flat or missing; there the absolute return "
        "stands in for the range."
    ]


def _market_on(other: pd.DataFrame, rows: pd.Index) -> Columns:
    """Market columns as known on the closes of ``rows``: the newest value not after each."""
    if kind_of_index(other.index) != kind_of_index(rows):
        raise InvalidInputError(
            "market must have the same kind of index as prices, got "
            f"{kind_of_index(other.index)} beside {kind_of_index(rows)}"
        )
    _, moves = transformed(other["Close"], "log-return", "market")
    columns = market_columns(Volatility(moves))
    newest = newest_known(other.index[1:], rows)
    if len(np.unique(newest[newest >= 0])) < 2:
        raise InvalidInputError(
            f"market ({_day(other.index[0])} to {_day(other.index[-1])}) and prices "
            f"({_day(rows[0])} to {_day(rows[-1])}) must overlap: take a market of their time"
        )
    return {key: np.where(newest >= 0, column[newest], np.nan) for key, column in columns.items()}


def _stale_market_notes(market: pd.Index, rows: pd.Index) -> list[str]:
    if market[-1] >= rows[-1]:
        return []
    return [
        f"The market series ends on {_day(market[-1])}, before the prices "
        f"({_day(rows[-1])}); its last values are carried forward."
    ]


def _first_finite(known: NDArray[np.float64]) -> int:
    """First row from which on every row is finite; len(known) if there is none."""
    finite = np.isfinite(known).all(axis=1)
    broken = np.flatnonzero(~finite)
    return int(broken[-1]) + 1 if len(broken) else 0


def _target(values: NDArray[np.float64], transform: str, horizon: int) -> NDArray[np.float64]:
    """Target of each row that has a whole one, ``len(values) - horizon + 1`` of them."""
    if transform == "level":
        return values[horizon - 1 :]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, horizon).sum(axis=1))


def _next_index(rows: pd.Index, next_date: Hashable | None) -> pd.Index:
    if next_date is None and isinstance(rows, pd.PeriodIndex):
        return rows[-1:] + 1
    if next_date is None and isinstance(rows, pd.DatetimeIndex) and rows.tz is None:
        next_date = next_session(rows)
    if next_date is None:
        integer = pd.api.types.is_integer_dtype(rows.dtype)
        return pd.Index([int(rows[-1]) + 1 if integer else len(rows)])
    if isinstance(rows, pd.DatetimeIndex):
        date = pd.Timestamp(next_date)  # type: ignore[arg-type]
        if date <= rows[-1]:
            raise InvalidInputError(
                f"next_date must lie after the last price ({_day(rows[-1])}), got {_day(date)}"
            )
        return pd.DatetimeIndex([date], name=rows.name)
    return pd.Index([next_date], name=rows.name)
