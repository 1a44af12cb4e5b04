"""The record of live forecasts: equal to a run in one go, never rewritten, whole at any moment."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regimeslot import load, make_dataset, save
from regimeslot.errors import BadFileError, DataError, InvalidInputError, RegimeslotError
from regimeslot.evaluation import folder, record
from regimeslot.evaluation import update as live
from regimeslot.evaluation.folder import MODELS, read_run, run_record, write_tables
from regimeslot.evaluation.record import hold, open_record, read_record
from regimeslot.evaluation.record_scores import record_reference, record_scores, record_table
from regimeslot.evaluation.run import RunSettings, fit_run
from regimeslot.evaluation.update import Updated, update
from regimeslot.models.base import Forecaster
from regimeslot.prices import Prices

FIT = 600
NOW = datetime(2024, 6, 28, 23, 0, tzinfo=UTC)
CHOSEN = ("mean", "gjr-garch", "slots-markov")


def closes(rows: int = 650, seed: int = 0) -> pd.Series:
    rng = np.random.default_rng(seed)
    scale = np.where((np.arange(rows) // 60) % 2 == 0, 0.006, 0.018)
    index = pd.bdate_range("2015-01-05", periods=rows, name="Date")
    return pd.Series(100 * np.exp(np.cumsum(scale * rng.standard_t(6, rows))), index, name="Close")


def prices(close: pd.Series, name: str = "ACME") -> Prices:
    return Prices(close.to_frame("Close"), name, name, "file", NOW)


def write_run(place: Path, close: pd.Series, market: Prices | None = None, **settings) -> Path:
    models = settings.pop("models", CHOSEN)
    chosen = RunSettings(models=models, train_size=FIT - 60, refit_every=1000, **settings)
    run = fit_run(prices(close), chosen, market=market)
    place.mkdir()
    request = dict.fromkeys(("source", "file", "column", "start", "end"))
    told = run_record(run, request=request, market=market)
    write_tables(place, run, told, market)
    (place / MODELS).mkdir()
    for name, model in run.models.items():
        save(model, place / MODELS / f"{name}.safetensors")
    return place


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("fitted") / "run", closes()[:FIT])


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fitted, tmp_path / "run"))


def models(place: Path) -> dict[str, Forecaster]:
    saved = read_run(place)
    return {name: load(saved.model_file(name)) for name in saved.every_model}


def bring(place: Path, close: pd.Series | None, now: datetime = NOW, **more) -> Updated:
    given = None if close is None else prices(close)
    return update(read_run(place), models(place), given, now=now, **more)


def in_one_go(place: Path, close: pd.Series, name: str, **options):
    """Forecasts of every row after the fit by the saved model, each one step ahead."""
    data = make_dataset(close, **options)
    new = data.X.index > read_run(place).last_row
    rows = [data.X[new], data.unfinished_X, data.next_X]
    X = pd.concat([part for part in rows if part is not None])
    y = np.append(data.y[new], np.full(len(X) - new.sum(), np.nan))
    return load(place / MODELS / f"{name}.safetensors").predict(X, y)


def same(a, b, rtol: float = 1e-10) -> None:
    for one, other in zip(a.parameters, b.parameters, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-13)


def lines(place: Path) -> list[dict]:
    return [json.loads(line) for line in (place / "record.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------ forecasts
@pytest.mark.parametrize("steps", [[650], [601, 602, 603, 611, 650]])
def test_updates_equal_a_run_in_one_go(steps: list[int], run: Path) -> None:
    for rows in steps:
        bring(run, closes()[:rows])
    held = read_record(run)
    assert held.models == list(CHOSEN)
    for name in CHOSEN:
        forecasts = held.forecasts(name)
        assert len(forecasts) == 51
        same(forecasts, in_one_go(run, closes(), name))
    assert list(held.bars) == list(closes().index[FIT - 1 :])


def test_the_first_is_the_fits_own(run: Path) -> None:
    bring(run, closes())
    first, second = lines(run)[1:3]
    told = json.loads((run / "fit.json").read_text())
    assert first["made_at"] == told["created"]
    assert first["next"] == told["forecast"]["date"]
    assert first["return"] is None
    main = told["settings"]["main"]
    assert first["forecasts"][main]["std"] == pytest.approx(told["forecast"]["std"], rel=1e-12)
    assert second["made_at"] == NOW.isoformat(timespec="seconds")


def test_models_that_are_not_the_fits_give_no_forecast_its_date(run: Path) -> None:
    told = json.loads((run / "fit.json").read_text())
    told["forecast"]["quantiles"]["0.05"] *= 1.001
    (run / "fit.json").write_text(json.dumps(told))
    bring(run, closes())
    assert lines(run)[1]["made_at"] == NOW.isoformat(timespec="seconds")
    assert lines(run)[1]["after_the_fact"]


def test_horizon_of_a_week(tmp_path: Path) -> None:
    place = write_run(tmp_path / "run", closes()[:FIT], models=("mean", "slots-markov"), horizon=5)
    for rows in (601, 604, 630, 650):
        bring(place, closes()[:rows])
    held = read_record(place)
    for name in held.models:
        whole = in_one_go(place, closes(), name, horizon=5)
        same(held.forecasts(name), whole[slice(len(whole) - 51, None)])
    table = record_table(held)
    moves = np.log(closes()).diff()
    row = table[table["after"] == closes().index[610]].iloc[0]
    assert row["y"] == pytest.approx(moves.iloc[611:616].sum(), rel=1e-9)
    assert row["date"] == closes().index[611]
    assert table.groupby("model")["y"].count().unique() == [51 - 5]


def test_second_series(tmp_path: Path) -> None:
    market = closes(seed=4)
    place = write_run(
        tmp_path / "run", closes()[:FIT], prices(market[:FIT], "INDEX"), models=("slots-markov",)
    )
    for rows in (605, 650):
        new = prices(0.5 * market[:rows], "INDEX")
        update(read_run(place), models(place), prices(closes()[:rows]), new, now=NOW)
    held = read_record(place)
    whole = in_one_go(place, closes(), "slots-markov", market=market.to_frame())
    same(held.forecasts("slots-markov"), whole)
    assert list(held.market_moves.index) == list(market.index[FIT:])
    restated = market.copy()
    restated.iloc[620] *= 1.02
    again = update(read_run(place), models(place), prices(closes()), prices(restated), now=NOW)
    assert again.added == 0
    assert "2 bars were restated" in again.notes[0]
    assert list(lines(place)[-1]["corrected_market"]) == [
        f"{day:%Y-%m-%d}" for day in market.index[620:622]
    ]
    now = np.log(restated).diff().iloc[FIT:]
    np.testing.assert_allclose(read_record(place).market_moves, now, rtol=1e-9)


# ------------------------------------------------------------------------------ never rewritten
def test_lines_are_only_added(run: Path) -> None:
    before = b""
    for rows in (600, 601, 601, 620, 619, 650):
        bring(run, closes()[:rows], NOW + timedelta(minutes=rows))
        content = (run / "record.jsonl").read_bytes()
        assert content.startswith(before)
        before = content
    bars = [line["bar"] for line in lines(run)[1:]]
    assert len(bars) == len(set(bars)) == 51


def test_nothing_new_writes_nothing(run: Path) -> None:
    bring(run, closes())
    before = (run / "record.jsonl").stat()
    for close in (closes(), closes()[:620], 0.25 * closes(), None):
        result = bring(run, close, NOW + timedelta(days=1))
        assert (result.added, result.resumed.news.new) == (0, ())
        older = close is not None and len(close) < len(closes())
        assert [note.partition(" before ")[2] for note in result.notes] == [
            "the last bar that is known already (2017-06-30): they are older than the run."
        ] * older
    after = (run / "record.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_restated_bar_moves_the_states_and_no_forecast(run: Path) -> None:
    wrong = closes()
    wrong.iloc[630] *= 1.1
    bring(run, wrong[:640])
    before = (run / "record.jsonl").read_bytes()
    was = record_table(read_record(run))
    result = bring(run, closes())
    assert any("2 bars were restated" in note for note in result.notes)
    assert (run / "record.jsonl").read_bytes().startswith(before)
    change = lines(run)[1 + 41]
    assert list(change["corrected"]) == [f"{d:%Y-%m-%d}" for d in closes().index[630:632]]
    held = read_record(run)
    for name in CHOSEN:
        whole = in_one_go(run, closes(), name)
        same(held.forecasts(name)[41:], whole[41:], rtol=1e-9)
    assert held.bars[closes().index[630]]["forecasts"]  # made from the wrong bar, and kept
    table = record_table(held)
    true = np.log(closes()).diff()[closes().index[630]]
    restated = table["date"] == closes().index[630]
    assert table["y"][restated].to_numpy() == pytest.approx(
        true, rel=1e-9
    )  # scored by what is true
    assert was["y"][was["date"] == closes().index[630]].iloc[0] == pytest.approx(true + np.log(1.1))


def test_late_bar_gets_its_place_and_one_forecast(run: Path) -> None:
    day = closes().index[630]
    first = bring(run, closes()[:640].drop(day))
    assert any(f"No bar came for {day:%Y-%m-%d}" in note for note in first.notes)
    second = bring(run, closes())
    assert any("came late" in note for note in second.notes)
    held = read_record(run)
    assert len(held) == 51
    assert held.bars[day]["after_the_fact"]
    for name in CHOSEN:
        same(held.forecasts(name)[slice(50, None)], in_one_go(run, closes(), name)[50:], rtol=1e-9)


def test_dividend_is_no_restatement(run: Path) -> None:
    bring(run, closes()[:620])
    later = closes()
    later.iloc[:625] *= 0.99  # paid on a day that is new
    result = bring(run, later)
    assert result.notes == ()
    assert result.resumed.news.corrected == {}
    same(read_record(run).forecasts("slots-markov"), in_one_go(run, later, "slots-markov"), 1e-9)


# ---------------------------------------------------------------------------------------- clock
def test_made_in_time_or_after_the_fact(run: Path) -> None:
    index = closes().index
    for row in (610, 611):  # each at the evening of its own day
        bring(run, closes()[: row + 1], index[row].to_pydatetime().replace(hour=22, tzinfo=UTC))
    marks = {pd.Timestamp(line["bar"]): line["after_the_fact"] for line in lines(run)[2:]}
    assert [day for day, late in marks.items() if not late] == list(index[610:612])
    table = record_table(read_record(run))
    assert (table["made_at"] <= pd.Timestamp(index[611]).tz_localize("UTC") + pd.Timedelta("1D"))[
        table["after"] > index[FIT - 1]
    ].all()
    scores = record_scores(read_record(run))
    assert list(scores.index.unique("made")) == ["in time", "after the fact"]
    assert (scores.loc["in time", "n"] == 1).all()
    assert (scores.loc["after the fact", "n"] == 11).all()


def test_a_session_that_is_over_without_its_bar(run: Path) -> None:
    result = bring(run, closes())
    assert result.next_is_over
    assert lines(run)[-1]["after_the_fact"]
    assert not bring(
        run, closes(), closes().index[-1].to_pydatetime().replace(tzinfo=UTC)
    ).next_is_over


def test_bars_of_the_future_are_not_recorded(run: Path) -> None:
    now = closes().index[620].to_pydatetime().replace(hour=22, tzinfo=UTC)
    result = bring(run, closes(), now)
    assert result.resumed.news.history.last == closes().index[620]
    assert any("dated in the future" in note for note in result.notes)
    assert len(read_record(run)) == 22


# --------------------------------------------------------------------------------------- scores
def test_scores_are_those_of_the_forecasts(run: Path) -> None:
    result = bring(run, closes())
    y = np.log(closes()).diff().to_numpy()[FIT:]
    forecast = in_one_go(run, closes(), "slots-markov")[:50]
    reference = in_one_go(run, closes(), "gjr-garch")[:50]
    assert record_reference(result.record) == "gjr-garch"
    row = result.scores.loc[("after the fact", "slots-markov")]
    assert row["n"] == 50
    assert row["log_score"] == pytest.approx(forecast.logpdf(y).mean(), rel=1e-9)
    assert row["gain"] == pytest.approx((forecast.logpdf(y) - reference.logpdf(y)).sum(), rel=1e-6)
    assert row["crps"] == pytest.approx(forecast.crps(y).mean(), rel=1e-6)
    assert row["var_5_hit"] == np.mean(y < -forecast.value_at_risk(0.05))
    table = result.table[result.table["model"] == "slots-markov"]
    np.testing.assert_allclose(table["pit"][:50], forecast.cdf(y), rtol=1e-8)
    np.testing.assert_allclose(table["var_1"][:50], forecast.value_at_risk(0.01), rtol=1e-7)
    assert table["y"].isna().tolist() == [False] * 50 + [True]
    assert np.isnan(result.scores.loc[("after the fact", "gjr-garch"), "gain"])


def test_nothing_has_come_true_yet(run: Path) -> None:
    result = bring(run, None)
    assert result.added == 1
    assert result.scores.empty
    assert result.table["y"].isna().all()


# ----------------------------------------------------------------------------------------- file
@pytest.mark.parametrize("cut", [1, 2, 50, 500])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_torn_last_line_is_dropped_and_made_again(cut: int, end: bytes, run: Path) -> None:
    bring(run, closes()[:610])
    path = run / "record.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] + end)
    if cut == 1:  # only the line's end: nothing is lost
        assert not read_record(run).torn
        return
    assert read_record(run).torn
    assert len(read_record(run)) == 10
    result = bring(run, closes()[:610], NOW + timedelta(days=1))
    assert "cut off" in result.notes[0]
    kept = whole.splitlines()
    assert path.read_bytes().splitlines()[:-1] == kept[:-1]
    assert lines(run)[-1]["forecasts"] == json.loads(kept[-1])["forecasts"]
    assert lines(run)[-1]["made_at"] > json.loads(kept[-1])["made_at"]


def test_file_cut_in_its_first_line(run: Path) -> None:
    (run / "record.jsonl").write_text('{"format": 1, "ab')
    result = bring(run, closes()[:610])
    assert len(read_record(run)) == 11
    assert "cut off" in result.notes[0]


DAMAGE = {
    "rewritten": (
        lambda text: text.replace('"std": 0.0', '"std": 0.1', 1),
        "by other hands: line 3",
    ),
    "line lost": (
        lambda text: "".join(text.splitlines(True)[:3] + text.splitlines(True)[4:]),
        "line 4",
    ),
    "line twice": (lambda text: text + text.splitlines(True)[-1], "line 13 does not follow"),
    "no json": (lambda text: text.replace('"bar"', "bar", 1), "line 2"),
    "format": (lambda text: text.replace('"format": 1', '"format": 0', 1), "format 0"),
    "another run": (lambda text: text.replace('"created": "2', '"created": "3', 1), "another run"),
    "another series": (lambda text: text.replace("ACME", "KO"), "another run"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_refused_and_left_alone(how: str, run: Path) -> None:
    bring(run, closes()[:610])
    change, said = DAMAGE[how]
    path = run / "record.jsonl"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(BadFileError, match="move") as caught:
        bring(run, closes())
    assert said in str(caught.value)
    assert path.read_text() == changed


def test_folders_without_a_record(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="regimeslot update begins it"):
        read_record(run)
    with pytest.raises(InvalidInputError, match="no folder"):
        read_record(tmp_path / "nowhere")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file(
    step: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(run, closes()[:610])
    before = (run / "record.jsonl").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, step, full)
    with pytest.raises(RegimeslotError, match="could not be written: no space left"):
        bring(run, closes())
    monkeypatch.undo()
    assert (run / "record.jsonl").read_bytes() == before
    assert not list(run.glob(".*.part"))
    assert bring(run, closes()).added == 40


def test_another_series_is_recorded_nowhere(run: Path) -> None:
    with pytest.raises(DataError, match="another series"):
        bring(run, closes(seed=9))
    assert not (run / "record.jsonl").exists()


# ----------------------------------------------------------------------------------------- lock
def test_only_one_update_at_a_time(run: Path) -> None:
    said: list[str] = []
    entered, release = threading.Event(), threading.Event()

    def first() -> None:
        with hold(run):
            entered.set()
            release.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(30)
    try:
        with (
            pytest.raises(RegimeslotError, match=r"has not ended after 0\.2 seconds"),
            hold(run, wait=0.2, waiting=lambda: said.append("waits")),
        ):
            pytest.fail("two at once")
    finally:
        release.set()
        thread.join()
    assert said == ["waits"]
    with hold(run, wait=0.2), hold(run, wait=0.2):  # once free, and twice by one
        pass


def test_an_update_that_waited_tells_the_time_after_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = datetime.now(UTC).replace(microsecond=0)

    class Clock(datetime):
        hours = 0

        @classmethod
        def now(cls, tz=None):
            return started + timedelta(hours=cls.hours)

    @contextmanager
    def waits(folder: Path, *, wait: float):
        Clock.hours = 5
        yield

    monkeypatch.setattr(live, "datetime", Clock)
    monkeypatch.setattr(live, "hold", waits)
    update(read_run(run), models(run), prices(closes()))
    assert lines(run)[-1]["made_at"] == (started + timedelta(hours=5)).isoformat()


def test_folder_that_cannot_be_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: object, flags: int, *more: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, flags, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InvalidInputError, match="regimeslot forecast needs no writing"):
        bring(run, closes())
    monkeypatch.undo()
    assert not (run / "record.jsonl").exists()
    assert open_record(read_run(run)).entries == ()
    assert record.FILE == "record.jsonl"
