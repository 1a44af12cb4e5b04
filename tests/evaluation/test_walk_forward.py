import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import ConvergenceError, InvalidInputError, TooFewRowsError
from regimeslot.evaluation.walk_forward import Study, walk_forward
from regimeslot.features import make_dataset
from regimeslot.models import LinearForecaster, MeanForecaster, Pool, SlotForecaster
from regimeslot.models.base import Forecaster


def closes(n_rows=700, seed=3):
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range("2016-01-04", periods=n_rows, name="Date")
    return pd.Series(np.exp(np.cumsum(0.01 * rng.standard_t(5, n_rows))), dates)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset(closes())


@pytest.fixture(scope="module")
def study(dataset):
    names = ["mean", "linear", "slots-single", "slots-markov", "slots-sticky", "pool"]
    return walk_forward(names, dataset, train_size=500, refit_every=60)


def test_every_row_is_forecast_once_by_every_model(study, dataset):
    assert list(study.forecasts) == [
        "mean", "linear", "slots-single", "slots-markov", "slots-sticky", "pool",
    ]  # fmt: skip
    rows = dataset.X.index[dataset.rows_before(500) :]
    for forecast in study.forecasts.values():
        pd.testing.assert_index_equal(forecast.index, rows)
    pd.testing.assert_index_equal(study.y.index, rows)


def test_each_fold_is_a_fit_on_the_rows_before_it(dataset):
    study = walk_forward({"linear": LinearForecaster()}, dataset, train_size=500, refit_every=60)
    for fold in study.folds:
        model = LinearForecaster().fit(dataset.X[fold.train], dataset.y[fold.train])
        expected = model.predict(dataset.X[fold.test])
        where = slice(fold.test.start - study.rows.start, fold.test.stop - study.rows.start)
        np.testing.assert_allclose(
            study.forecasts["linear"][where].mean(), expected.mean(), rtol=1e-10
        )


@pytest.mark.parametrize("horizon", [1, 5])
def test_cutting_the_prices_changes_no_earlier_forecast(horizon):
    prices = closes()
    names = ["mean", "linear", "slot-weight", "slots-static", "slots-sticky"]
    options = {"train_size": 500, "refit_every": 60}
    whole = walk_forward(names, make_dataset(prices, horizon=horizon), **options)
    for cut in (521, 565, 640):
        part = walk_forward(names, make_dataset(prices.iloc[:cut], horizon=horizon), **options)
        n_rows = len(part.y)
        for name in names:
            a, b = part.forecasts[name], whole.forecasts[name][slice(0, n_rows)]
            for field in ("weights", "locations", "scales", "dof"):
                np.testing.assert_allclose(
                    getattr(a, field), getattr(b, field), rtol=1e-9, atol=1e-12, err_msg=name
                )


def test_a_week_is_purged_so_that_no_fit_sees_an_unfinished_target():
    dataset = make_dataset(closes(), horizon=5)
    study = walk_forward(["mean", "slots-markov"], dataset, train_size=500, refit_every=60)
    for fold in study.folds:
        assert fold.test.start - fold.train.stop == 4
    y = dataset.y.to_numpy()
    first = study.rows.start
    np.testing.assert_allclose(
        study.forecasts["mean"].mean()[:3],
        [y[: row - 4].mean() for row in range(first, first + 3)],
        rtol=1e-10,
    )


def test_the_pool_is_made_of_its_members_forecasts(study):
    y = study.y.to_numpy()
    members = [study.forecasts[n].pdf(y) for n in ("slots-single", "slots-markov", "slots-sticky")]
    np.testing.assert_allclose(study.forecasts["pool"].pdf(y), np.mean(members, axis=0), rtol=1e-12)
    assert study.seconds["pool"] == pytest.approx(
        sum(study.seconds[n] for n in ("slots-single", "slots-markov", "slots-sticky"))
    )


def test_a_pool_of_its_own_members_is_fitted(dataset):
    pool = Pool(members={"a": MeanForecaster(), "b": LinearForecaster()})
    study = walk_forward({"pool": pool}, dataset, train_size=500, refit_every=100)
    assert study.forecasts["pool"].n_components == 2


def test_scores_and_comparisons_are_tables(study):
    scores = study.scores()
    assert list(scores.columns) == [
        "log_score", "crps", "r2_oos", "qlike", "var_1_hit", "var_5_hit", "seconds",
    ]  # fmt: skip
    np.testing.assert_allclose(scores["log_score"], study.log_scores().mean(), rtol=1e-12)
    assert scores.loc["mean", "r2_oos"] == pytest.approx(0.0, abs=1e-12)
    table = study.compare()
    assert set(table["against"]) == {"linear", "slots-single"}
    row = table[(table["model"] == "pool") & (table["against"] == "linear")].iloc[0]
    gain = study.log_scores()
    assert row["log_score_gain"] == pytest.approx((gain["pool"] - gain["linear"]).mean())


def test_a_study_is_cut_to_a_period(study):
    part = study.between("2018-03-01", "2018-06-30")
    assert part.y.index[0] >= pd.Timestamp("2018-03-01")
    assert len(part.forecasts["pool"]) == len(part.y)
    pd.testing.assert_frame_equal(part.log_scores(), study.log_scores().loc[part.y.index])
    with pytest.raises(InvalidInputError, match="no forecast rows"):
        study.between("2030-01-01")


class _Breaks(MeanForecaster):
    def fit(self, X, y):
        raise ConvergenceError("it never converges")


def test_one_failed_model_is_reported_and_not_fatal(dataset):
    models = {
        "good": MeanForecaster(),
        "bad": _Breaks(),
        "pool": Pool(members={"good": MeanForecaster(), "bad": _Breaks()}),
    }
    study = walk_forward(models, dataset, train_size=500, refit_every=100)
    assert list(study.forecasts) == ["good"]
    assert study.failures == {
        "bad": "it never converges",
        "pool": "its member(s) bad failed",
    }


def test_nothing_to_do_is_an_error(dataset):
    with pytest.raises(InvalidInputError, match="at least one model"):
        walk_forward([], dataset)
    with pytest.raises(TooFewRowsError):
        walk_forward(["mean"], dataset, train_size=5000)
    with pytest.raises(InvalidInputError, match="there is no model 'means'"):
        walk_forward(["means"], dataset, train_size=500)


def test_progress_runs_from_nothing_to_everything(dataset):
    seen = []
    walk_forward(
        ["mean", "linear"],
        dataset,
        train_size=500,
        refit_every=60,
        progress=lambda done, total, text: seen.append((done, total, text)),
    )
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_the_users_models_are_not_changed(dataset):
    model = SlotForecaster(n_slots=1)
    study = walk_forward({"mine": model}, dataset, train_size=500, refit_every=100)
    assert not model.is_fitted
    assert isinstance(study, Study)
    assert isinstance(study.models["mine"], Forecaster)
    assert study.settings["models"] == {"mine": "SlotForecaster(n_slots=1)"}


def test_models_of_another_horizon_are_refused():
    dataset = make_dataset(closes(), horizon=5)
    pool = Pool(members={"a": MeanForecaster(horizon=5), "b": MeanForecaster()})
    for models in ({"mine": SlotForecaster()}, {"pool": pool}):
        with pytest.raises(InvalidInputError, match="build it with horizon=5"):
            walk_forward(models, dataset, train_size=500)


def test_a_rolling_window_holds_as_many_rows_as_it_says(dataset):
    study = walk_forward(["mean"], dataset, train_size=300, refit_every=100, expanding=False)
    lengths = [fold.train.stop - fold.train.start for fold in study.folds]
    assert study.folds[0].test.start == dataset.rows_before(300)
    assert lengths[0] == dataset.rows_before(300)
    assert lengths[-1] == 300


def test_own_models_are_compared_with_each_other(dataset):
    models = {"a": MeanForecaster(), "b": LinearForecaster()}
    study = walk_forward(models, dataset, train_size=500, refit_every=100)
    assert len(study.compare()) == 2
    with pytest.raises(InvalidInputError, match="no forecasts of nope"):
        study.compare(["nope"])


def test_rounded_targets_are_scored_as_the_intervals_they_stand_for():
    steps = np.round(np.random.default_rng(0).normal(scale=0.15, size=400), 1)
    rate = pd.Series(
        5 + np.cumsum(steps), index=pd.date_range("1980-01-31", periods=400, freq="ME")
    )
    data = make_dataset(rate, transform="diff")
    plain = walk_forward(["mean", "linear"], data, train_size=300, refit_every=50)
    study = walk_forward(["mean", "linear"], data, train_size=300, refit_every=50, rounded_to=0.1)
    y = study.y.to_numpy()
    for name, forecast in study.forecasts.items():
        expected = np.log(forecast.cdf(y + 0.05) - forecast.cdf(y - 0.05))
        np.testing.assert_allclose(study.log_scores()[name], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(plain.log_scores()[name], forecast.logpdf(y), rtol=1e-12)
    gain = study.compare(["mean"])["log_score_gain"].iloc[0]
    means = study.scores()["log_score"]
    np.testing.assert_allclose(gain, means["linear"] - means["mean"], rtol=1e-9)
    assert study.between(study.y.index[20]).rounded_to == 0.1
    with pytest.raises(InvalidInputError, match="positive number"):
        walk_forward(["mean"], data, train_size=300, rounded_to=0)


def test_r2_of_levels_is_against_the_last_known_value():
    level = 5 + np.cumsum(0.1 * np.random.default_rng(2).standard_normal(400))
    data = make_dataset(pd.Series(level), transform="level", horizon=3)
    study = walk_forward({"mean": MeanForecaster(horizon=3)}, data, train_size=300, refit_every=50)
    y = study.y.to_numpy()
    before = data.y.shift(3).loc[study.y.index].to_numpy()
    forecast = study.forecasts["mean"].mean()
    expected = 1 - ((y - forecast) ** 2).sum() / ((y - before) ** 2).sum()
    np.testing.assert_allclose(study.scores().loc["mean", "r2_oos"], expected, rtol=1e-10)
    assert expected < -1  # against the mean of the past it would look like nothing was lost
