from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import fake_yahoo as fy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.errors import (
    BadFileError,
    DataWarning,
    InvalidInputError,
    PriceError,
    RegimeslotError,
    TooFewRowsError,
)
from regimeslot.prices import load_prices
from regimeslot.prices.dates import parse_dates

BARS = fy.make_bars()
DAYS = BARS.index
CLOSE = BARS["Close"].to_numpy()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "series.csv"


def text_of(**columns: object) -> str:
    return pd.DataFrame(columns).to_csv(index=False)


@pytest.mark.parametrize(
    "date", ["Date", "date", "timestamp", "Datetime", "TIME", "observation_date"]
)
@pytest.mark.parametrize(
    "close", ["Close", "close", "Adj Close", "adj_close", "price", "Value", "x"]
)
def test_the_names_that_people_have(path: Path, date: str, close: str) -> None:
    path.write_text(text_of(**{date: DAYS, close: CLOSE}))
    prices = load_prices(file=path)
    np.testing.assert_allclose(prices.close, CLOSE, rtol=1e-15)
    assert prices.index.equals(DAYS)
    assert (prices.ticker, prices.symbol, prices.source) == ("series", "series", "file")
    assert prices.notes == ()


def test_dates_without_a_name_are_in_the_first_column(path: Path) -> None:
    path.write_text(text_of(**{"": DAYS, "Close": CLOSE, "rating": ["A"] * len(DAYS)}))
    assert load_prices(file=path).index.equals(DAYS)


def test_the_adjusted_close_adjusts_the_bar(path: Path) -> None:
    adjusted = CLOSE * np.linspace(0.8, 1.0, len(CLOSE))
    path.write_text(BARS.assign(**{"Adj Close": adjusted}).reset_index().to_csv(index=False))
    prices = load_prices("SPY", file=path)
    np.testing.assert_allclose(prices.close, adjusted, rtol=1e-12)
    for name in ("Open", "High", "Low"):
        np.testing.assert_allclose(prices.frame[name], BARS[name] * adjusted / CLOSE, rtol=1e-12)
    assert prices.ticker == "SPY"
    assert any("'Adj Close' is used as the close" in note for note in prices.notes)


def test_an_adjusted_close_alone_leaves_out_the_raw_bar(path: Path) -> None:
    table = BARS.rename(columns={"Close": "Adj Close"}).reset_index()
    path.write_text(table.to_csv(index=False))
    prices = load_prices(file=path)
    assert list(prices.frame.columns) == ["Close", "Volume"]
    assert any("Open, High, Low left out" in note for note in prices.notes)


def test_a_named_column_and_a_panel(path: Path) -> None:
    path.write_text(text_of(Date=DAYS, KO=CLOSE / 8, SPY=CLOSE))
    np.testing.assert_allclose(load_prices("ko", file=path).close, CLOSE / 8, rtol=1e-12)
    np.testing.assert_allclose(load_prices(file=path, column="SPY").close, CLOSE, rtol=1e-12)
    with pytest.raises(BadFileError, match=r"not one numeric column but 2 \('KO', 'SPY'\)"):
        load_prices(file=path)
    with pytest.raises(InvalidInputError, match="no column 'XOM'; it has 'KO', 'SPY'"):
        load_prices(file=path, column="XOM")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epochs(path: Path, unit: str) -> None:
    opened = DAYS.as_unit("ns") + pd.Timedelta(hours=14, minutes=30)
    stamps = opened.asi8 // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    path.write_text(text_of(timestamp=stamps, close=CLOSE))
    assert load_prices(file=path).index.equals(DAYS)


@pytest.mark.parametrize(
    "style",
    [
        *("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y"),
        *("%d-%b-%Y", "%b %d, %Y", "%Y-%m-%d 00:00:00-05:00", "%Y-%m-%dT09:30:00Z"),
        "%Y-%m-%d 23:00:00+01:00",
    ],
)
def test_date_styles(path: Path, style: str) -> None:
    path.write_text(text_of(Date=DAYS.strftime(style), Close=CLOSE))
    assert load_prices(file=path).index.equals(DAYS)


def test_dates_that_mean_two_things_are_refused(path: Path) -> None:
    months = pd.date_range("2012-01-01", periods=40, freq="MS").strftime("%d/%m/%Y")
    path.write_text(text_of(Date=months, Close=np.arange(1.0, 41.0)))
    with pytest.raises(BadFileError, match=r"'01/01/2012' in line 2 .* as month/day and as"):
        load_prices(file=path)


def test_years_and_quarters(path: Path) -> None:
    path.write_text(text_of(Year=range(1950, 1990), Value=np.arange(40.0)))
    assert load_prices(file=path, kind="series").index[1] == pd.Timestamp("1951-01-01")
    quarters = pd.period_range("1951Q2", periods=40, freq="Q").astype(str)
    path.write_text(text_of(period=quarters, Value=np.arange(40.0)))
    assert load_prices(file=path, kind="series").index[1] == pd.Timestamp("1951-07-01")


def test_parquet_with_dates_in_the_index_or_in_a_column(tmp_path: Path) -> None:
    for number, table in enumerate(
        (BARS, BARS.reset_index(), BARS.tz_localize("America/New_York").rename_axis(None))
    ):
        file = tmp_path / f"{number}.parquet"
        table.to_parquet(file)
        prices = load_prices(file=file)
        assert prices.index.equals(DAYS)
        np.testing.assert_array_equal(prices.frame["High"], BARS["High"])


def test_csv_as_yfinance_download_writes_it(path: Path) -> None:
    columns = pd.MultiIndex.from_product([BARS.columns, ["SPY"]], names=["Price", "Ticker"])
    BARS.set_axis(columns, axis=1).to_csv(path)
    prices = load_prices(file=path)
    np.testing.assert_allclose(prices.frame.to_numpy(), BARS.to_numpy(), rtol=1e-14)
    path.write_text(path.read_text().replace(str(BARS.iloc[5, 3]), "oops"))
    with pytest.raises(BadFileError, match="'oops' in line 9"):
        load_prices(file=path)


@pytest.mark.parametrize("name", ["a.csv.gz", "b.txt", "c.tsv"])
def test_compressed_and_other_separators(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"Date": DAYS, "Close": CLOSE})
    table.to_csv(tmp_path / name, index=False, sep="\t" if name.endswith("tsv") else ",")
    assert len(load_prices(file=tmp_path / name)) == len(DAYS)


def test_european_and_american_exports(path: Path) -> None:
    rounded = np.round(CLOSE * 10, 2)
    european = [f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in rounded]
    table = pd.DataFrame({"Datum": DAYS.strftime("%d.%m.%Y"), "Close": european})
    table.to_csv(path, sep=";", index=False)
    np.testing.assert_allclose(load_prices(file=path).close, rounded, rtol=1e-12)
    american = {"Date": DAYS[::-1].strftime("%m/%d/%Y")}
    american["Close/Last"] = [f"${x:,.2f}" for x in rounded[::-1]]
    american["Volume"] = ["1.2M"] * len(DAYS)
    path.write_text("\ufeff" + text_of(**american), encoding="utf-8")
    prices = load_prices(file=path)
    np.testing.assert_allclose(prices.close, rounded, rtol=1e-12)
    assert prices.notes == ("series: newest row first; sorted by date.",)


def test_holes_are_dropped_with_a_note(path: Path) -> None:
    dates, values = DAYS.strftime("%Y-%m-%d").tolist(), [f"{x:.4f}" for x in CLOSE]
    dates[3], values[10], values[11] = "", ".", "NaN"
    path.write_text(text_of(Date=dates, Close=values) + "\n\n")
    with pytest.warns(DataWarning, match="3 trading sessions missing"):
        prices = load_prices(file=path)
    assert len(prices) == len(DAYS) - 3
    assert "series: 1 row without a date dropped." in prices.notes
    assert any("2 rows without a close dropped" in note for note in prices.notes)


def broken(row: int, **cells: str) -> str:
    table = pd.DataFrame({"Date": DAYS.strftime("%Y-%m-%d"), "Close": CLOSE}).astype(str)
    for name, value in cells.items():
        table.loc[row, name] = value
    return table.to_csv(index=False)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (broken(5, Close="n.a. yet"), BadFileError, "column 'Close', got 'n.a. yet' in line 7 of"),
        (broken(5, Date="yesterday"), BadFileError, "Expected a date, got 'yesterday' in line 7"),
        (broken(5, Date="2023-02-30"), BadFileError, "got '2023-02-30' in line 7"),
        ("\n" + broken(5, Close="oops"), BadFileError, "'oops' in line 8"),
        (broken(5, Close="0"), PriceError, "positive prices, got 0 on 2023-01-10"),
        (broken(5, Close="-3.5"), PriceError, "positive prices, got -3.5 on 2023-01-10"),
        (broken(5, Close="inf"), PriceError, "finite values, got inf on 2023-01-10"),
        (broken(5, Date="2023-01-03"), PriceError, "each date once, but 2023-01-03 came again"),
        (broken(5, Date="2023-01-03 12:00"), PriceError, "several on 2023-01-03; resample"),
        ("Date,Close\n2024-01-02,5\n", TooFewRowsError, "at least 30 rows .* got 1;"),
        ("Date,Close\n", BadFileError, "it has 2 columns and 0 rows"),
        ("just some words\nmore words\n", BadFileError, "it has 1 columns"),
        ("", BadFileError, "cannot be read as a table"),
        ("Date,Close\n,1\n,2\n", BadFileError, "only empty cells from line 2"),
        ("Date,Name\n2024-01-02,a\n2024-01-03,b\n", BadFileError, "not one numeric column but 0"),
        ("\x00\x01\x02", BadFileError, "series.csv"),
    ],
)
def test_dirty_files_are_one_typed_sentence(
    path: Path, content: str, error: type, message: str
) -> None:
    path.write_text(content)
    with pytest.raises(error, match=message) as caught:
        load_prices(file=path)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_what_is_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="There is no file"):
        load_prices(file=tmp_path / "absent.csv")
    with pytest.raises(BadFileError, match="cannot be read"):
        load_prices(file=tmp_path)
    for name, content in (("a.parquet", b"PAR1"), ("b.csv", b"\xff\xfe\x00D"), ("c.gz", b"no gz")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFileError, match="cannot be read"):
            load_prices(file=tmp_path / name)


def test_series_may_be_zero_and_negative_but_not_infinite(path: Path) -> None:
    rate = np.round(np.sin(np.arange(60.0)), 3)
    months = pd.date_range("2015-01-01", periods=60, freq="MS")
    path.write_text(text_of(DATE=months, FEDFUNDS=rate))
    prices = load_prices(file=path, kind="series")
    np.testing.assert_allclose(prices.close, rate, rtol=0, atol=1e-15)
    assert (prices.kind, prices.notes, list(prices.frame.columns)) == ("series", (), ["Close"])
    rate[7] = np.inf
    path.write_text(text_of(DATE=months, FEDFUNDS=rate))
    with pytest.raises(PriceError, match="finite values, got inf on 2015-08-01"):
        load_prices(file=path, kind="series")


def test_provenance_is_the_files_time(path: Path) -> None:
    path.write_text(text_of(Date=DAYS, Close=CLOSE))
    prices = load_prices(file=path)
    assert prices.as_of == datetime.fromtimestamp(path.stat().st_mtime, UTC)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_anything_but_a_typed_error(tmp_path_factory: object, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")  # type: ignore[attr-defined]
    (folder / "any.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RegimeslotError):
        load_prices(file=folder / "any.csv")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=1, max_size=30),
    st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%d-%b-%Y", "%Y-%m-%d 00:00:00+02:00"]),
)
def test_written_dates_are_read_back(days: list[object], style: str) -> None:
    index = pd.DatetimeIndex(days)
    written = pd.Series(index.strftime(style))
    assert parse_dates(written, str).equals(index.as_unit("us"))
