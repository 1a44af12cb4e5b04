import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt

from regimeslot.errors import InvalidInputError
from regimeslot.reporting import (
    plot_exceedances,
    plot_forecast,
    plot_gain,
    plot_pit,
    plot_regimes,
    plot_volatility,
)

ALL = (plot_forecast, plot_regimes, plot_volatility, plot_gain, plot_pit, plot_exceedances)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("plot", ALL, ids=lambda f: f.__name__)
def test_each_figure_draws_on_the_axes_it_is_given(plot, run):
    before = dict(mpl.rcParams)
    _, ax = plt.subplots()
    assert plot(run, ax=ax) is ax
    assert ax.get_title(loc="left")
    assert ax.get_ylabel()
    assert dict(mpl.rcParams) == before
    ax.figure.canvas.draw()


@pytest.mark.parametrize("plot", ALL, ids=lambda f: f.__name__)
def test_each_figure_makes_its_own_axes(plot, run):
    assert plot(run).figure is plt.gcf()


def test_the_gain_line_ends_at_the_sum_of_the_gains(run):
    scores = run.study.log_scores()
    total = float((scores[run.main] - scores["linear"]).sum())
    line = plot_gain(run).get_lines()[0]
    assert line.get_label() == "over linear"
    assert line.get_ydata()[-1] == pytest.approx(total, rel=1e-9)


def test_density_integrates_to_one(run):
    line = plot_forecast(run).get_lines()[0]
    x, pdf = line.get_data()
    assert np.trapezoid(pdf, x) == pytest.approx(0.996, abs=2e-3)


def test_price_is_on_a_log_scale_and_without_prices_probabilities_are_stacked(run):
    assert plot_regimes(run).get_yscale() == "log"
    assert plot_regimes(run.study).get_ylim() == (0.0, 100.0)


def test_what_cannot_be_drawn_says_how_to_get_it(study_of, normal, run):
    bare = study_of(0.01 * np.random.default_rng(0).standard_normal(60), {"mean": normal(60)})
    for plot, words in (
        (plot_forecast, "fit_run"),
        (plot_regimes, "slots-sticky"),
        (plot_gain, "gjr-garch"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            plot(bare)
