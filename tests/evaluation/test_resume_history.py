"""What newer prices say to what a run knows."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import DataError
from regimeslot.evaluation.resume_clock import is_over, usable_until
from regimeslot.evaluation.resume_history import History, News
from regimeslot.prices import Prices, sessions_between

NOW = datetime(2024, 6, 28, 23, 0, tzinfo=UTC)
FIT = 300  # rows that the run was fitted on
NOTHING = pd.Series([], pd.DatetimeIndex([]), dtype=float)


def closes(rows: int = 320, *, freq: str = "B", start: str = "2021-01-04") -> pd.Series:
    rng = np.random.default_rng(5)
    days = pd.date_range(start, periods=rows, freq=freq, name="Date")
    return pd.Series(100 * np.exp(np.cumsum(0.01 * rng.standard_normal(rows))), days, name="Close")


def prices(close: pd.Series, symbol: str = "SERIES") -> Prices:
    kind = "price" if (close > 0).all() else "series"
    return Prices(close.to_frame("Close"), symbol, symbol, "file", NOW, kind=kind)


def history(close: pd.Series, known: int = FIT, transform: str = "log-return") -> History:
    """As after a fit on 300 rows and updates up to row ``known``."""
    at_fit = History(prices(close.iloc[:FIT]), NOTHING, transform)
    return at_fit.read(prices(close.iloc[:known]), NOW).history


def days(news: News) -> list[pd.Timestamp]:
    return list(news.new)


def test_new_bars_give_the_moves_of_the_series() -> None:
    close = closes()
    news = history(close).read(prices(close), NOW)
    assert days(news) == list(close.index[FIT:])
    assert news.notes == ()
    np.testing.assert_allclose(
        news.history.moves, np.log(close).diff().iloc[FIT:], rtol=1e-11, atol=1e-15
    )
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)
    assert list(news.history.dates) == list(close.index[FIT - 1 :])


@pytest.mark.parametrize("factor", [0.25, 0.9934, 3.0])
def test_a_common_factor_is_no_restatement(factor: float) -> None:
    close = closes()
    known = history(close, 310)
    news = known.read(prices(factor * close), NOW)
    assert (news.corrected, news.notes) == ({}, ())
    assert (news.history.moves[:10] == known.moves).all()  # bit for bit as recorded
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)


def test_rescaled_and_rounded_to_cents_is_no_restatement() -> None:
    close = closes().round(2)
    news = history(close, 310).read(prices((0.97 * close).round(2)), NOW)
    assert (news.corrected, news.notes) == ({}, ())


def test_one_cent_in_a_history_that_was_not_rescaled_is_a_restatement() -> None:
    close = closes().round(2)
    changed = close.copy()
    changed.iloc[305] += 0.01
    news = history(close, 310).read(prices(changed), NOW)
    assert list(news.corrected) == list(close.index[305:307])


def test_restated_bar_is_corrected_and_said() -> None:
    close = closes()
    wrong = close.copy()
    wrong.iloc[304] *= 0.9
    known = history(wrong, 310)
    news = known.read(prices(close), NOW)
    assert list(news.corrected) == list(close.index[304:306])
    was, now = news.corrected[close.index[304]]
    assert now - was == pytest.approx(-np.log(0.9), rel=1e-9)
    (note,) = news.notes
    assert "2 bars were restated after they were used" in note
    assert f"{close.index[304]:%Y-%m-%d}" in note
    assert "the forecasts that were recorded stay as they are" in note
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)


def test_a_late_dividend_restates_one_return() -> None:
    close = closes()
    later = close.copy()
    later.iloc[:305] *= 0.99
    news = history(close, 310).read(prices(later), NOW)
    assert list(news.corrected) == [close.index[305]]
    assert "was restated after it was used: the return into it was" in news.notes[-1]
    assert len(news.notes) == 1  # on days of the fit nothing but a factor changed


def test_restated_days_of_the_fit_are_said_and_kept() -> None:
    close = closes()
    changed = close.copy()
    changed.iloc[100] *= 1.05
    news = history(close, 310).read(prices(changed), NOW)
    assert news.corrected == {}
    (note,) = news.notes
    assert "restated: 2 of 299 returns differ from those of the fit" in note
    assert "the models keep what they were fitted on" in note
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)


def test_missing_session_where_the_holidays_are_known() -> None:
    sessions = closes(700)
    close = sessions.reindex(
        sessions_between("2021-01-04", "2022-12-30", sessions.index[:9], "SPY")
    )
    whole = History(prices(close.iloc[:FIT], "SPY"), NOTHING, "log-return")
    assert whole.read(prices(close, "SPY"), NOW).notes == ()
    news = whole.read(prices(close.drop(close.index[[310, 311]]), "SPY"), NOW)
    (note,) = news.notes
    assert note.startswith(f"No bar came for {close.index[310]:%Y-%m-%d}, ")
    assert "covers those sessions too" in note
    assert "holiday" not in note
    assert list(news.remarks) == [close.index[312]]
    both = np.log(close.iloc[312] / close.iloc[309])
    assert news.history.moves[close.index[312]] == pytest.approx(both, rel=1e-12)


def test_missing_session_where_they_are_not_known_may_be_a_holiday() -> None:
    close = closes()
    (note,) = history(close).read(prices(close.drop(close.index[310])), NOW).notes
    assert "a holiday unknown here or a gap" in note
    assert "covers that session too" in note


@pytest.mark.parametrize("freq", ["W-FRI", "MS", "ME", "QS"])
def test_missing_period_of_a_slower_series(freq: str) -> None:
    start = {"W-FRI": "2015-01-02", "QS": "1940-01-01"}.get(freq, "1990-01-01")
    close = closes(310, freq=freq, start=start)
    assert history(close).read(prices(close), NOW).notes == ()
    news = history(close).read(prices(close.drop(close.index[305])), NOW)
    assert any(f"No bar came for {close.index[305]:%Y-%m-%d}" in note for note in news.notes)


def test_week_dated_a_day_early_is_no_gap() -> None:
    close = closes(310, freq="W-FRI", start="2015-01-02")
    index = close.index.to_series()
    index.iloc[305] -= pd.Timedelta(days=1)  # Good Friday
    moved = close.set_axis(pd.DatetimeIndex(index, name="Date"))
    assert history(close).read(prices(moved), NOW).notes == ()


def test_a_dividend_that_came_late_into_the_fit_leaves_no_seam() -> None:
    close = closes()
    changed = close.copy()
    changed.iloc[:100] *= 0.99
    news = history(close, 310).read(prices(changed), NOW)
    assert news.corrected == {}
    assert "restated: 1 of 299 returns" in news.notes[0]
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)


def bars(close: pd.Series) -> pd.DataFrame:
    frame = {"Open": close - 0.1, "High": close + 1, "Low": close - 1, "Close": close}
    return pd.DataFrame({**frame, "Volume": 1000.0 + np.arange(len(close))})


def test_repeated_bar_is_left_out_and_said() -> None:
    close = closes()
    frame = bars(close)
    frame.iloc[305] = frame.iloc[304]
    given = Prices(frame, "SERIES", "SERIES", "file", NOW)
    news = history(close).read(given, NOW)
    assert close.index[305] not in news.new
    assert len(news.new) == 19
    assert any("repeats the one before to the last digit" in note for note in news.notes)
    again = news.history.read(given, NOW)
    assert again.new == ()
    assert again.notes == ()  # said once, when it came
    frame = bars(close)
    right = news.history.read(Prices(frame, "SERIES", "SERIES", "file", NOW), NOW)
    assert days(right) == [close.index[305]]


def test_repeated_close_is_a_return_of_zero() -> None:
    close = closes()
    close.iloc[305] = close.iloc[304]
    news = history(close).read(prices(close), NOW)
    assert news.history.moves[close.index[305]] == 0.0
    (note,) = news.notes
    assert "repeats the one before: it is used, as a return of zero" in note


def test_late_bar_is_put_in_its_place() -> None:
    close = closes()
    known = history(close.drop(close.index[305]), 309)
    news = known.read(prices(close), NOW)
    assert days(news)[0] == close.index[305]
    assert list(news.corrected) == [close.index[306]]  # it had covered both sessions
    assert "came late" in news.remarks[close.index[305]]
    assert not any("restated" in note for note in news.notes)
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)


def test_bars_that_the_source_lost_are_kept() -> None:
    close = closes()
    known = history(close, 310)
    news = known.read(prices(close.drop(close.index[[304, 305]])), NOW)
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)
    assert news.corrected == {}
    assert any("lack bars that were used before" in note for note in news.notes)


@pytest.mark.parametrize("rows", [305, 250])
def test_prices_that_are_older_than_the_run_are_said(rows: int) -> None:
    close = closes()
    news = history(close, 310).read(prices(close.iloc[:rows]), NOW)
    (note,) = news.notes
    assert f"end on {close.index[rows - 1]:%Y-%m-%d}, before" in note
    assert days(news) == []
    np.testing.assert_allclose(news.history.closes, close.iloc[:310], rtol=1e-12)


def test_rows_that_newer_prices_lack_are_counted() -> None:
    close = closes()
    known = history(close, 310)
    (note,) = known.read(prices(close.iloc[1:310]), NOW).notes
    assert note.endswith("the row before is that of the run.")
    (note,) = known.read(prices(close.iloc[:310].drop(close.index[[20]])), NOW).notes
    assert f"lack 1 of the 300 bars that the run was fitted on ({close.index[20]:%Y-%m-%d})" in note


def test_a_rolling_window_may_have_left_the_fit_behind() -> None:
    close = closes()
    known = history(close, 310)
    news = known.read(prices(0.5 * close.iloc[302:]), NOW)
    assert days(news) == list(close.index[310:])
    assert news.corrected == {}
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-12)
    with pytest.raises(DataError, match="share no two days"):
        known.read(prices(close.iloc[309:]), NOW)


@pytest.mark.parametrize("transform", ["diff", "level"])
def test_series_that_are_no_prices(transform: str) -> None:
    close = closes() - 100
    shift = 0.5 if transform == "diff" else 0.0
    known = history(close, 310, transform)
    news = known.read(prices(close + shift), NOW)
    assert (news.corrected, news.notes) == ({}, ())
    np.testing.assert_allclose(news.history.closes, close, rtol=1e-9, atol=1e-9)
    changed = close.copy()
    changed.iloc[305] += 1.0
    later = known.read(prices(changed), NOW)
    assert list(later.corrected) == list(close.index[305 : 307 if transform == "diff" else 306])


def test_another_series_is_refused() -> None:
    other = closes() * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 320)))
    with pytest.raises(DataError, match=r"prices of SERIES differ .* another series"):
        history(closes(), 310).read(prices(other), NOW)


def test_bars_of_the_future_and_of_today_are_left_out() -> None:
    close = closes(310)
    in_session = datetime(2022, 3, 11, 15, 0, tzinfo=UTC)  # row 309 is 11 March 2022
    assert close.index[309] == pd.Timestamp("2022-03-11")
    elsewhere = history(close).read(prices(close), in_session)
    assert elsewhere.history.last == close.index[309]  # hours unknown: the date decides
    before = datetime(2022, 3, 9, 15, 0, tzinfo=UTC)
    news = history(close).read(prices(close), before)
    assert news.history.last == pd.Timestamp("2022-03-09")
    assert "The bar of 2022-03-10 is dated in the future: it is left out." in news.notes


def test_todays_bar_in_new_york_counts_from_the_close_on() -> None:
    index = pd.bdate_range("2024-03-04", "2024-03-22")
    for hour, last in ((15, "2024-03-21"), (21, "2024-03-22")):
        now = datetime(2024, 3, 22, hour, 0, tzinfo=UTC)
        assert usable_until(now, index, "SPY") == pd.Timestamp(last)
        assert is_over(index[-1], now, index, "SPY") == (hour == 21)


def test_days_without_a_place_end_at_midnight() -> None:
    index = pd.date_range("2024-03-04", "2024-03-22")
    now = datetime(2024, 3, 22, 23, 59, tzinfo=UTC)
    assert usable_until(now, index, "BTC-USD") == pd.Timestamp("2024-03-21")
    assert not is_over(index[-1], now, index, "BTC-USD")


def test_a_month_is_over_when_it_is_whatever_day_it_is_dated_by() -> None:
    index = pd.date_range("2020-01-01", periods=36, freq="MS")
    june = pd.Timestamp("2023-06-01")
    assert not is_over(june, datetime(2023, 6, 30, 12, tzinfo=UTC), index)
    assert is_over(june, datetime(2023, 7, 1, 12, tzinfo=UTC), index)
    weeks = pd.date_range("2023-01-02", periods=36, freq="W-MON")
    assert not is_over(weeks[-1], datetime(2023, 9, 8, 12, tzinfo=UTC), weeks)
    assert is_over(weeks[-1], datetime(2023, 9, 11, 12, tzinfo=UTC), weeks)


def test_a_clock_that_was_put_back_unmakes_no_bar() -> None:
    close = closes()
    known = history(close, 310)
    news = known.read(prices(close), datetime(2020, 1, 1, tzinfo=UTC))
    assert news.new == ()
    assert news.history.last == close.index[309]
    assert len(news.notes) == 10
