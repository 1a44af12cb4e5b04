"""The report of a study: what it says, that it says it safely, and how it behaves in a browser."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regimeslot.evaluation.panel_result import Panel
from regimeslot.evaluation.study import SeriesStudy, StudySettings
from regimeslot.reporting.study_page import study_report
from regimeslot.reporting.study_summary import summarize_study
from regimeslot.reporting.study_terminal import study_answers

XSS = "<img src=x onerror=alert(1)>"
MODELS = {
    "gjr-garch": 0.0,
    "egarch-t": 0.005,
    "slots-single": 0.08,
    "slots-static": 0.1,
    "slots-sticky": 0.1,
    "markov-t": -0.1,
    "pool": 0.12,
}


def study_of(names: list[str], *, rows: int = 900, models=MODELS, dates: bool = True, **settings):
    rng = np.random.default_rng(1)
    index = pd.bdate_range("2015-01-05", periods=rows) if dates else pd.RangeIndex(rows)
    losses, uniforms, states = {}, {}, {}
    for k, name in enumerate(names):
        columns = {
            (score, model): 2.0 - mean * (1 + 0.2 * k) + 0.4 * rng.standard_normal(rows)
            for score in ("log_score", "crps", "qlike")
            for model, mean in models.items()
        }
        losses[name] = pd.DataFrame(columns, index=index)
        uniforms[name] = pd.DataFrame(
            rng.uniform(size=(rows, len(models))), index=index, columns=list(models)
        )
        states[name] = pd.DataFrame({"markov-t": rng.integers(0, 3, rows)}, index=index)
        if "markov-t" not in models:
            states[name] = states[name].iloc[:, :0]
    panel = Panel(
        losses,
        dict.fromkeys(names, 1),
        uniforms=uniforms,
        states=states,
        seconds=dict.fromkeys(names, 2.0),
    )
    data = {n: {"symbol": n, "source": "file", "first": "", "last": "", "rows": 9} for n in names}
    return SeriesStudy(
        panel,
        StudySettings(**settings),
        data,
        versions={"regimeslot": "0"},
        command="regimeslot study --files held",
    )


@pytest.fixture(scope="module")
def study():
    return study_of(["A", "B", "C", "D"], apart=("D",))


@pytest.fixture(scope="module")
def summary(study):
    return summarize_study(study)


@pytest.fixture(scope="module")
def path(study, tmp_path_factory):
    return study_report(study, tmp_path_factory.mktemp("study"))


def test_the_answers_are_those_of_the_tables(study, summary) -> None:
    row = study.headline.loc["gjr-garch"]
    gain, series, regimes = summary.answers
    assert gain["big"] == f"{row['gain']:+.4f} nats a day"
    assert gain["level"] == "good"
    assert series["big"] == f"{int(row['significant'])} of 3 series"
    assert regimes["headline"] == "No regimes found"
    assert "is not due to regimes" in " ".join(regimes["lines"])
    assert any("Set apart" in text and "D" in text for text in summary.banners)
    names = [row[0].text for row in summary.series["table"].rows]
    assert names[-1] == "D (apart)"
    gains = [float(row[2].text) for row in summary.series["table"].rows[:-1]]
    assert gains == sorted(gains, reverse=True)


def test_comparisons_are_named_single_or_multiple(summary) -> None:
    assert "single comparison" in summary.headline["notes"][0]
    assert "multiple comparison" in summary.models["notes"][0]
    assert "by day" in summary.headline["notes"][0]
    raw, adapted = (row[1].text for row in summary.coverage["table"].rows[:2])
    assert (raw, adapted) == ("As forecast", "With an adaptive threshold")


def test_parts_that_cannot_be_made_say_why(tmp_path) -> None:
    bare = study_of(["A"], models={"mean": 0.0, "linear": 0.1}, dates=False)
    summary = summarize_study(bare)
    assert "slots-static" in summary.steps["missing"]
    assert "markov-t" in summary.regimes["missing"]
    assert "no dates" in summary.years["missing"]
    page = study_report(bare, tmp_path / "bare.html").read_text()
    assert page.count('class="missing"') >= 4
    alone = summarize_study(study_of(["A"], models={"mean": 0.0}))
    assert "nothing to compare" in alone.headline["missing"]
    assert "missing" in alone.gain
    assert "nothing to compare" in str(study_answers(study_of(["A"], models={"mean": 0.0}))[-1])


def test_rates_have_no_losses_and_overlapping_targets_no_hits() -> None:
    rates = summarize_study(study_of(["A", "B"], transform="diff"))
    assert rates.coverage["heading"] == "Values below the low quantiles"
    said = str(rates.coverage["table"]) + str(rates.series["table"].columns) + str(rates.answers)
    assert "VaR" not in said
    assert "loss" not in said
    weeks = study_of(["A", "B"])
    weeks = replace(weeks, panel=replace(weeks.panel, horizons={"A": 5, "B": 5}))
    assert "overlap" in summarize_study(weeks).coverage["missing"]
    assert not any("VaR" in str(part) for part in study_answers(weeks))


def test_markup_in_names_is_text_and_the_page_needs_nobody(study, path, tmp_path) -> None:
    page = path.read_text()
    assert len(page) < 1_000_000
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    poisoned = study_of([XSS, "B"])
    poisoned.panel.failures[XSS + "2"] = XSS
    poisoned = replace(poisoned, command=f"regimeslot study --tickers '{XSS}'</script>")
    text = study_report(poisoned, tmp_path / "x.html").read_text()
    assert "<img" not in text
    assert "&lt;img src=x" in text


def test_the_terminal_keeps_to_80_columns(study) -> None:
    from rich.console import Console

    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for part in study_answers(study):
        console.print(part, markup=False, highlight=False)
    text = console.export_text()
    assert "pool on 3 series" in text
    assert "(apart: D)" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


# ------------------------------------------------------------------------------------- browser
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    where = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=where, args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield chromium
        chromium.close()


def opened(browser, path, viewport, scheme="light"):
    page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    page.wait_for_selector(".uplot canvas")
    return page, said, asked


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_a_word_or_a_request_and_nothing_is_wider(browser, path, viewport, scheme):
    page, said, asked = opened(browser, path, viewport, scheme)
    assert said == []
    assert asked == [path.as_uri()]
    bottom = page.evaluate("document.querySelector('.answers').getBoundingClientRect().bottom")
    assert bottom <= viewport["height"]
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_click_on_a_heading_sorts_the_series(browser, path):
    page, said, _ = opened(browser, path, DESK)

    def column(number):
        rows = page.locator(".sortable tbody tr")
        return [rows.nth(i).locator("th,td").nth(number).inner_text() for i in range(rows.count())]

    head = page.locator(".sortable thead th").nth(4)
    head.locator("button").click()
    values = [float(v.replace("\N{MINUS SIGN}", "-")) for v in column(4)]
    assert values == sorted(values, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert [float(v.replace("\N{MINUS SIGN}", "-")) for v in column(4)] == sorted(values)
    page.locator(".sortable thead th").nth(0).locator("button").click()
    assert column(0) == ["A", "B", "C", "D (apart)"]
    assert said == []
    page.context.close()
