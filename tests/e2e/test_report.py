"""The report that a real run leaves, in a real browser."""

import pytest

from tests.report.test_report import SECTIONS

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(browser, first_report):
    """The page opened as a file; a message of the console or a request elsewhere fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url),
    )
    opened.goto(first_report.as_uri())
    yield opened
    assert complaints == []


def test_every_section_of_a_real_run_shows_something(page):
    for name in SECTIONS:
        assert page.locator(f"#{name} h1, #{name} h2").first.is_visible(), name
        assert "Nothing to show" not in page.locator(f"#{name}").inner_text(), name
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert page.locator("svg.chart").count() >= 8


def test_the_verdict_of_a_real_run_names_its_data_and_what_is_served(page, first):
    words = page.locator("#verdict").inner_text()
    assert "Blessed" in words and first.document["dataset"] in words
    assert str(first.document["pushed_version"]) in words
