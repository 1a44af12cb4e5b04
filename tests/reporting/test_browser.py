"""The report in a real browser: no complaint, no request, no overflow, light, dark and on paper."""

import os
import shutil
import time

import pytest

from regimeslot.reporting import report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

sync_api = pytest.importorskip("playwright.sync_api")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    return report(run, tmp_path_factory.mktemp("page") / "report.html")


class Opened:
    """A page, with everything it said and asked for."""

    def __init__(self, browser, path, viewport=DESK, scheme="light", **options):
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        began = time.perf_counter()
        self.page.goto(path.as_uri(), wait_until="load")
        self.page.wait_for_selector(".uplot canvas")
        self.seconds = time.perf_counter() - began

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()

    def colour(self, selector):
        script = "s => getComputedStyle(document.querySelector(s)).backgroundColor"
        return self.page.evaluate(script, selector)

    def range(self):
        """What all charts show; they must agree."""
        self.page.wait_for_timeout(100)
        shown = self.page.evaluate(
            "[...document.querySelectorAll('.uplot')].map(e => e.dataset.range)"
        )
        assert len(shown) >= 4  # without prices there is one less
        assert len(set(shown)) == 1
        return shown[0]

    def pressed(self):
        return self.page.evaluate(
            "[...document.querySelectorAll('.zoom [aria-pressed=true]')].map(b => b.textContent)"
        )


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_fast_without_a_word_or_a_request(browser, path, viewport, scheme):
    with Opened(browser, path, viewport, scheme) as opened:
        assert opened.said == []
        assert opened.asked == [path.as_uri()]
        assert opened.page.locator(".uplot").count() == 5


def test_thirty_three_years_open_in_under_two_seconds(browser, long_study, tmp_path):
    path = report(long_study, tmp_path / "long.html")
    seconds = []
    for _ in range(3):  # the machine may be busy with something else
        with Opened(browser, path) as opened:
            seconds.append(opened.seconds)
            assert opened.said == []
    assert min(seconds) < 2.0


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_three_answers_need_no_scrolling_and_nothing_is_wider(browser, path, viewport):
    with Opened(browser, path, viewport) as opened:
        bottom = opened.page.evaluate(
            "document.querySelector('.answers').getBoundingClientRect().bottom"
        )
        assert bottom <= viewport["height"]
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        wide = opened.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"]


def test_markup_in_a_ticker_is_shown_and_not_run(browser, poisoned, xss, tmp_path):
    with Opened(browser, report(poisoned, tmp_path / "x.html"), PHONE) as opened:
        assert opened.page.locator("h1").inner_text() == xss
        assert opened.page.locator("img").count() == 0
        assert opened.said == []
        assert len(opened.asked) == 1
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dark_and_light_follow_the_reader_even_while_open(browser, path):
    with Opened(browser, path, scheme="dark") as opened:
        assert opened.colour("body") == "rgb(20, 23, 27)"
        opened.page.emulate_media(color_scheme="light")
        assert opened.colour("body") == "rgb(255, 255, 255)"
        assert opened.page.locator(".uplot").count() == 5
        assert opened.said == []


AXIS_TEXTS = """window.axisTexts = () =>
  [...document.querySelectorAll('.u-legend .u-series:first-child .u-value')].map(e => e.textContent)
"""


def test_the_cursor_is_in_step_and_all_charts_zoom_together(browser, path):
    with Opened(browser, path) as opened:
        page = opened.page
        page.evaluate(AXIS_TEXTS)
        page.locator("#section-volatility").scroll_into_view_if_needed()
        box = page.locator("#plot-volatility .u-over").bounding_box()
        height = box["y"] + box["height"] / 2

        def move(part):
            page.mouse.move(box["x"] + part * box["width"], height, steps=4)

        move(0.5)
        page.wait_for_timeout(100)
        dates = page.evaluate("axisTexts()")
        assert len(dates) == 5
        assert len(set(dates)) == 1
        assert "20" in dates[0]

        everything = opened.range()
        move(0.2)
        page.mouse.down()
        move(0.4)
        page.mouse.up()
        dragged = opened.range()
        assert dragged != everything
        assert opened.pressed() == []

        page.mouse.dblclick(box["x"] + 0.5 * box["width"], height)
        assert opened.range() == everything
        assert opened.pressed() == ["All"]


def test_buttons_zoom_all_charts_and_survive_a_change_of_colours(browser, long_study, tmp_path):
    with Opened(browser, report(long_study, tmp_path / "long.html")) as opened:
        everything = opened.range()
        opened.page.locator(".zoom button", has_text="5 years").click()
        last_five = opened.range()
        assert last_five != everything
        assert opened.pressed() == ["5 years"]
        opened.page.emulate_media(color_scheme="dark")
        assert opened.range() == last_five
        opened.page.locator(".zoom button", has_text="All").click()
        assert opened.range() == everything


def test_numbers_can_be_saved_from_the_file(browser, path, run):
    with Opened(browser, path, accept_downloads=True) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        with opened.page.expect_download() as download:
            opened.page.locator("#section-gain details button").click()
        lines = download.value.path().read_text().splitlines()
        assert download.value.suggested_filename == "gain.csv"
        assert lines[0].startswith('Date,"cumulative gain over linear, nats"')
        assert len(lines) == 1 + len(run.study.y)
        assert lines[1].startswith(f"{run.study.y.index[0]:%Y-%m-%d},")
        assert opened.said == []


def test_it_prints_light_and_within_the_paper(browser, path):
    with Opened(browser, path, scheme="dark") as opened:
        pdf = opened.page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")
        assert opened.said == []
        assert opened.colour("body") == "rgb(20, 23, 27)"
