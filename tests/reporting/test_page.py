import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from regimeslot.errors import InvalidInputError
from regimeslot.reporting import report
from regimeslot.reporting.page import _typeset

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; complains of tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.comments = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())  # no-break spaces become plain ones


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return report(run, tmp_path_factory.mktemp("report")).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def payload(html):
    return json.loads(re.search(r'id="payload">(.*?)</script>', html, re.S).group(1))


def test_tags_are_closed_and_ids_are_unique(page):
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched_from_anywhere(html, page):
    for tag, attrs in page.tags:
        assert "src" not in attrs, tag
        assert attrs.get("href", "data:,") == "data:,", tag
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_the_first_screen_holds_the_three_answers(page):
    text = page.text
    for words in ("Next session, Thu 25 Jan 2018", "nine times in ten", "Probability of a loss"):
        assert words in text
    assert "nats a day" in text
    assert "95 % interval" in text
    assert text.index("Trust") < text.index("Price and regimes")


def test_sections_come_in_the_order_of_the_brief(page):
    heads = ["Price and regimes", "Volatility", "Gain over the baselines", "Scores"]
    heads += ["How much of it is regimes", "Calibration", "Losses beyond the value at risk"]
    heads += ["What each regime is", "Transitions", "Data and settings"]
    places = [page.texts.index(head) for head in heads]
    assert places == sorted(places)


def test_every_picture_has_a_text_alternative_and_its_numbers(page):
    pictures = [a for _, a in page.tags if a.get("role") == "img"]
    assert len(pictures) == 7
    assert all(len(a["aria-label"]) > 40 for a in pictures)
    folds = [a for tag, a in page.tags if tag == "details"]
    assert len(folds) == 6  # the first screen's two share one
    assert sum(tag == "table" for tag, _ in page.tags) >= 12


def test_the_licence_of_the_chart_library_is_inside(page):
    assert any("Permission is hereby granted" in comment for comment in page.comments)


def test_markup_in_names_is_shown_as_text(poisoned, xss, tmp_path):
    text = report(poisoned, tmp_path / "x.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert xss in page.text
    json.dumps(payload(text))


def test_the_same_run_gives_the_same_page(run, html, tmp_path):
    assert report(run, tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_a_folder_gets_report_html_and_missing_folders_are_made(run, tmp_path):
    assert report(run.study, tmp_path).name == "report.html"
    assert report(run.study, tmp_path / "a" / "b.html").parent.name == "a"


def test_a_failed_write_leaves_the_old_report_and_no_litter(run, tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("old")

    def broken(source, destination):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        report(run.study, target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_nothing_is_written_for_something_else(tmp_path):
    with pytest.raises(InvalidInputError):
        report(object(), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_numbers_are_typeset_but_names_and_dates_are_not():
    assert _typeset("-0.5 to +1.2 % of gjr-garch, 2020-01-02, -.5") == (
        "\u22120.5 to +1.2\u00a0% of gjr-garch, 2020-01-02, \u2212.5"
    )


def test_a_study_of_one_baseline_has_no_empty_part(study_of, normal, tmp_path):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    page = Page(report(study_of(y, {"mean": normal(60)}), tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert page.text.count("--models") >= 4


def test_thirty_three_years_stay_under_one_megabyte(long_study, tmp_path):
    assert report(long_study, tmp_path / "big.html").stat().st_size < 1_000_000
