"""The report of a candidate in a real browser: no complaint, nothing fetched, the decision in sight, the filter filters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from factd.editor.reports.candidate_page import candidate_page
from support.browsers.chromium import chromium, complaints, prefer, requested, resize
from support.candidate_reports import page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    folder = tmp_path_factory.mktemp("browser")
    file = folder / "report.html"
    file.write_text(candidate_page(page(20)), encoding="utf-8")
    with chromium(folder, width=1100, height=800) as found:
        found.get(file.as_uri())
        yield found


def test_it_opens_offline_without_a_complaint(browser: Chrome) -> None:
    assert complaints(browser) == []
    assert [Path(url).name for url in requested(browser)] == ["report.html"]


def test_the_decision_is_in_sight(browser: Chrome) -> None:
    heading = browser.find_element(By.TAG_NAME, "h1")
    assert "Refused" in heading.text
    assert 0 <= heading.location["y"] < 800
    assert browser.find_element(By.CSS_SELECTOR, ".reasons li").location["y"] < 800


def test_answers_are_filtered_by_kind_and_language(browser: Chrome) -> None:
    def shown() -> int:
        rows = browser.find_elements(By.CSS_SELECTOR, "#examples tbody tr")
        return sum(row.is_displayed() for row in rows)

    every = shown()
    kind = Select(browser.find_element(By.CSS_SELECTOR, 'select[data-of="kind"]'))
    kind.select_by_visible_text("known")
    few = shown()
    assert 0 < few < every
    kind.select_by_visible_text("all")
    assert shown() == every


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Chrome, scheme: str) -> None:
    prefer(browser, scheme)
    resize(browser, width=390, height=844)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    resize(browser, width=1100, height=800)
    assert wide <= 390
    red = int(ground.split("(")[1].split(",")[0])
    assert (red > 200) is (scheme == "light")
