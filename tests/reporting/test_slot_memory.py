"""The chart of slot memory: shares of the run's own network, on the run's rows."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.run import RunSettings, fit_run
from regimeslot.models import SlotLSTMForecaster
from regimeslot.models.slot_lstm_forecaster import SlotMemory
from regimeslot.reporting import figures, report, summarize
from regimeslot.reporting.slot_memory import memory_of, memory_title
from regimeslot.reporting.thin import decode
from regimeslot.reporting.view import view_of


@pytest.fixture(scope="module")
def remembering(prices):
    """A run with a small slot-memory network whose output early stopping did not leave at zero."""
    run = fit_run(prices, RunSettings(models=("mean", "slots-sticky"), train_size=600))
    dataset = run.dataset
    model = SlotLSTMForecaster(
        window=16, hidden_size=4, memory_slots=3, n_seeds=2, epochs=1, random_state=0
    ).fit(dataset.X, dataset.y)
    model.networks_[1]["output.weight"] += 0.1  # the first stays unused
    model.networks_[0]["output.weight"] *= 0.0
    models = {**run.models, "slot-lstm": model}
    return replace(run, models=models, study=replace(run.study, models=models))


def test_chart_holds_the_network_s_own_shares(remembering):
    chart = summarize(remembering).charts["memory"]
    model, study = remembering.models["slot-lstm"], remembering.study
    used = SlotLSTMForecaster(**model.get_params()).set_state(
        {**model.get_state(), "networks_": model.networks_[1:]}
    )
    rows = slice(study.rows.start - 15, study.rows.stop)
    memory = used.memory(study.dataset.X.iloc[rows])
    assert chart["columns"]["names"] == ["slot 1", "slot 2", "slot 3"]
    for what in ("read", "write"):
        found = np.stack([decode(part) for part in chart["columns"][what]], axis=1)
        np.testing.assert_allclose(found, 100 * getattr(memory, what), rtol=0, atol=0.06)
    table = chart["table"]
    assert len(table.columns) == 1 + 2 * 3
    assert table.rows[0][0].text == "all rows"
    mean = float(table.rows[0][1].text)
    assert mean == pytest.approx(100 * memory.read["slot 1"].mean(), abs=0.06)
    json.dumps(chart["columns"], allow_nan=False)


def test_a_bare_study_shows_it_too(remembering):
    assert "memory" in summarize(remembering.study).charts


def test_rows_without_a_whole_window_are_blank(remembering):
    dataset = remembering.dataset
    longer = remembering.models["slot-lstm"].clone(window=430).fit(dataset.X, dataset.y)
    held = {**remembering.models, "slot-lstm": longer}
    run = replace(remembering, models=held, study=replace(remembering.study, models=held))
    memory = memory_of(view_of(run))[1]
    blank = memory.read.isna().all(axis=1).to_numpy()
    assert blank.sum() == 430 - 1 - run.study.rows.start > 0
    assert not blank[blank.sum() :].any()
    columns = summarize(run).charts["memory"]["columns"]
    assert columns["read"][0]["v"][0] is None


def test_an_unused_memory_is_said_to_be_unused(remembering):
    model = remembering.models["slot-lstm"]
    idle = [{**n, "output.weight": 0 * n["output.weight"]} for n in model.networks_]
    same = SlotLSTMForecaster(**model.get_params()).set_state(
        {**model.get_state(), "networks_": idle}
    )
    study = replace(remembering.study, models={"slot-lstm": same})
    chart = summarize(study).charts["memory"]
    assert chart["title"] == "The forecasts make no use of slot memory"
    assert chart["note"].startswith("No network of slot-lstm is in use")


def test_titles_say_what_differs(remembering):
    view = view_of(remembering)
    likeliest = view.regimes.to_numpy().argmax(axis=1)
    wild = likeliest == likeliest.max()
    assert 0 < wild.sum() < len(wild)

    def memory(inside):
        first = np.where(wild, inside, 0.2)
        frame = pd.DataFrame({"slot 1": first, "slot 2": 1 - first}, index=view.index)
        flat = pd.DataFrame({"slot 1": 0.3, "slot 2": 0.7}, index=view.index)
        return SlotMemory(flat, frame)

    wanted = "Slot 1 is written more in the wild regime than in the calm one (60 % against 20 %)"
    assert memory_title(view, memory(0.6)) == wanted
    hardly = "Which slot is read and written hardly changes from row to row"
    assert memory_title(view, memory(0.205)) == hardly
    assert memory_title(view, memory(0.1)).startswith("Slot 2 takes")


def test_page_has_the_section_only_where_it_belongs(remembering, run, tmp_path):
    held = report(remembering, tmp_path / "a.html").read_text()
    assert 'id="plot-memory"' in held
    assert 'id="plot-memory"' not in report(run, tmp_path / "b.html").read_text()


def test_figure_stacks_to_one(remembering, run):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    for what in ("read", "write"):
        axes = figures.plot_memory(remembering, what=what)
        assert len(axes.collections) == 3
        top = axes.collections[-1].get_paths()[0].vertices[:, 1].max()
        assert top == pytest.approx(100.0, abs=1e-3)
        pyplot.close(axes.figure)
    with pytest.raises(InvalidInputError, match="add slot-lstm"):
        figures.plot_memory(run)
    with pytest.raises(InvalidInputError, match="got 'both'"):
        figures.plot_memory(remembering, what="both")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_chart_is_drawn_without_complaint(remembering, tmp_path, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        page = browser.new_page(viewport={"width": width, "height": 800})
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(report(remembering, tmp_path / "report.html").as_uri())
        page.wait_for_selector("#plot-memory .uplot canvas")
        assert page.locator("#plot-memory .uplot").count() == 2
        keys = page.locator("#legend-memory .u-series .u-label").all_inner_texts()
        wanted = [f"{verb} {k}" for verb in ("Read", "Written") for k in (3, 2, 1)]
        assert [key.rstrip(":") for key in keys if key[:4] in ("Read", "Writ")] == wanted
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert said == []
