"""Panels: the numbers of single studies, resumed after stops, in parallel, with failures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from regimeslot.errors import (
    ConvergenceError,
    ConvergenceWarning,
    InvalidInputError,
    PriceError,
    RegimeslotError,
)
from regimeslot.evaluation import panel as module
from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.evaluation.comparison_many import model_confidence_set, study_losses
from regimeslot.evaluation.panel import run_panel
from regimeslot.evaluation.walk_forward import walk_forward
from regimeslot.features import Dataset, make_dataset
from regimeslot.models.baselines import MeanForecaster

MODELS = ("mean", "linear")
OPTIONS = {"train_size": 400, "refit_every": 100}
AWKWARD = "../<b>\n^X"


def dataset(seed: int) -> Dataset:
    steps = 0.01 * np.random.default_rng(seed).standard_normal(600)
    dates = pd.bdate_range("2020-01-01", periods=600)
    return make_dataset(pd.Series(np.exp(steps.cumsum()), index=dates))


def broken() -> Dataset:
    raise PriceError("prices must be positive, got -1")


@pytest.fixture(scope="module")
def series():
    return {"A": dataset(0), "B": dataset(1), AWKWARD: dataset(2)}


@pytest.fixture(scope="module")
def whole(series):
    return run_panel(series, MODELS, **OPTIONS)


@pytest.fixture
def runs(monkeypatch):
    """Datasets that were walked forward, in order."""
    done = []

    def counted(models, data, **options):
        done.append(data)
        return walk_forward(models, data, **options)

    monkeypatch.setattr(module, "walk_forward", counted)
    return done


def test_losses_and_gains_are_those_of_single_studies(series, whole) -> None:
    study = walk_forward(MODELS, series["B"], **OPTIONS)
    for score in ("log_score", "crps", "qlike"):
        wanted = study_losses(study, score)
        assert_allclose(whole.losses["B"][score][list(MODELS)], wanted, rtol=1e-12)
    test = diebold_mariano(-study.log_scores()["linear"], -study.log_scores()["mean"])
    row = whole.gains("linear").set_index("series").loc["B"]
    assert_allclose([row.gain, row.t, row.p], [test.mean_difference, test.t, test.p])
    assert row.n == len(study.y)


def test_table_counts_the_series(whole) -> None:
    gains = whole.gains("linear")
    row = whole.table(["linear"]).loc[("mean", "linear")]
    assert row.series == 3
    assert_allclose(row.mean_gain, gains["gain"].mean())
    assert row.won == (gains["gain"] > 0).sum()
    assert row.significant == ((gains["p"] < 0.05) & (gains["gain"] > 0)).sum()
    assert row.significantly_worse == ((gains["p"] < 0.05) & (gains["gain"] < 0)).sum()
    assert whole.table(["linear"], size=0.999)["significant"].iloc[0] == row.won
    sets = whole.confidence_sets(draws=200)
    wanted = model_confidence_set(whole.losses["A"]["log_score"], draws=200)["included"]
    assert sets.loc["A"].to_dict() == wanted.to_dict()


def test_a_stopped_panel_continues_and_repeats_nothing(tmp_path, series, whole, runs) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int, name: str) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        run_panel(series, MODELS, folder=tmp_path, progress=stop, **OPTIONS)
    assert len(runs) == 2
    resumed = run_panel(series, MODELS, folder=tmp_path, **OPTIONS)
    assert len(runs) == 3
    for name, losses in whole.losses.items():
        assert_frame_equal(resumed.losses[name], losses, check_freq=False)
    assert resumed.horizons == whole.horizons
    assert len(list(tmp_path.iterdir())) == 3  # nothing outside, nothing hidden left
    assert all(path.suffix == ".parquet" for path in tmp_path.iterdir())


def test_other_data_settings_or_models_are_done_anew(tmp_path, series, runs) -> None:
    one = {"A": series["A"]}
    run_panel(one, ["mean"], folder=tmp_path, **OPTIONS)
    run_panel(one, ["mean"], folder=tmp_path, **OPTIONS)
    assert len(runs) == 1
    run_panel({"A": series["B"]}, ["mean"], folder=tmp_path, **OPTIONS)
    run_panel({"A": series["B"]}, ["mean"], folder=tmp_path, train_size=400, refit_every=50)
    run_panel({"A": series["B"]}, MODELS, folder=tmp_path, train_size=400, refit_every=50)
    assert len(runs) == 4


def test_a_damaged_file_is_done_anew(tmp_path, series, runs) -> None:
    one = {"A": series["A"]}
    first = run_panel(one, ["mean"], folder=tmp_path, **OPTIONS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    again = run_panel(one, ["mean"], folder=tmp_path, **OPTIONS)
    assert len(runs) == 2
    assert_frame_equal(again.losses["A"], first.losses["A"])


def test_one_failed_series_is_reported_and_not_fatal(series) -> None:
    held = {"bad": broken, "A": lambda: series["A"]}
    panel = run_panel(held, MODELS, **OPTIONS)
    assert panel.failures == {"bad": "PriceError: prices must be positive, got -1"}
    assert list(panel.losses) == ["A"]
    with pytest.raises(RegimeslotError, match="every series failed; the first, bad"):
        run_panel({"bad": broken}, MODELS, **OPTIONS)


class Stubborn(MeanForecaster):
    """A model that never fits."""

    def fit(self, X, y):
        raise ConvergenceError("no start worked")


def test_a_failed_model_is_reported_with_its_series(tmp_path, series) -> None:
    models = {"mean": MeanForecaster(), "stubborn": Stubborn()}
    for _ in range(2):  # as run, and as read back
        panel = run_panel({"A": series["A"]}, models, folder=tmp_path, **OPTIONS)
        assert panel.model_failures == {"A": {"stubborn": "no start worked"}}
        assert list(panel.losses["A"]["crps"].columns) == ["mean"]
        assert panel.table().empty


def test_processes_give_the_same_and_keep_it(tmp_path: Path, series, whole) -> None:
    seen = []
    panel = run_panel(
        {**series, "bad": broken},
        MODELS,
        folder=tmp_path,
        n_jobs=2,
        progress=lambda done, total, name: seen.append((done, total, name)),
        **OPTIONS,
    )
    for name, losses in whole.losses.items():
        assert_frame_equal(panel.losses[name], losses, rtol=1e-6, check_freq=False)
    assert set(panel.failures) == {"bad"}
    assert seen[-1] == (4, 4, "bad")
    assert len(list(tmp_path.iterdir())) == 3


def test_faults(tmp_path, whole) -> None:
    with pytest.raises(InvalidInputError, match="at least one series"):
        run_panel({}, MODELS)
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(InvalidInputError, match="cannot keep results"):
        run_panel({"bad": broken}, MODELS, folder=taken)
    with pytest.raises(InvalidInputError, match="score must be"):
        whole.gains("mean", "rmse")


def test_what_is_kept_beside_the_losses(tmp_path) -> None:
    models = ("mean", "slots-static")
    data = dataset(3)
    first = data.index[len(data) - 60]
    panel = run_panel({"A": data}, models, folder=tmp_path, first=first, refit_every=100)
    again = run_panel({"A": data}, models, folder=tmp_path, first=first, refit_every=100)
    study = walk_forward(models, data, train_size=data.skipped + len(data) - 60, refit_every=100)
    assert panel.losses["A"].index[0] == first
    for held in (panel, again):
        for model in models:
            wanted = study.forecasts[model].cdf(study.y.to_numpy())
            assert_allclose(held.uniforms["A"][model], wanted, rtol=1e-9)
        assert list(held.states["A"].columns) == ["slots-static"]
        likeliest = study.forecasts["slots-static"].weights.argmax(axis=1)
        assert (held.states["A"]["slots-static"] == likeliest).all()
        assert held.seconds["A"] > 0
    assert again.seconds == panel.seconds  # read back, not run
    assert panel.only(["A", "nobody"]).losses.keys() == {"A"}


def test_settings_left_open_suit_each_series() -> None:
    short, long = dataset(0), dataset(1)
    short = short[: len(short) - 150]
    panel = run_panel({"s": short, "l": long}, ["mean"], train_size=None, refit_every=None)
    for name, data in (("s", short), ("l", long)):
        assert panel.losses[name].index[0] == data.index[max(100, len(data) // 2)]


class Warned(MeanForecaster):
    """A model whose fits say something."""

    def fit(self, X, y):
        warnings.warn("odd", ConvergenceWarning, stacklevel=2)
        return super().fit(X, y)


def test_warnings_of_fits_are_told_by_series_and_not_on_the_screen(series) -> None:
    models = {"warned": Warned(), "linear": MeanForecaster(likelihood="gaussian")}
    panel = run_panel({"A": series["A"]}, models, **OPTIONS)
    assert panel.warnings == {"A": ["odd"]}
