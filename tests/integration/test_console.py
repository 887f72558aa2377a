"""The console in a real Chromium on the daemon's real port: log in, approve, roll back; and everybody who is turned away."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browser import chromium, complaints, requested
from people import FEED, Operator, update
from prometheus_client import CollectorRegistry
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from daemon.bootstrap import Factd, open_factd
from daemon.http import Health
from daemon.web.app import console

SECONDS = 20
PASSWORD = "correct horse battery"


class Place:
    """A console with three releases: the base, one that was live, one that is; and one that waits."""

    def __init__(self, operator: Operator, factd: Factd, port: int) -> None:
        self.operator, self.factd, self.url = operator, factd, f"http://127.0.0.1:{port}"

    def api(self, method: str, path: str, token: str = "", **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(
            method, f"{self.url}/api/v1{path}", headers=headers, timeout=SECONDS, **more
        )

    def status(self, number: int) -> str:
        return str(self.operator("releases", "show", str(number))["status"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    operator = Operator(tmp_path_factory.mktemp("console") / "world")
    (operator.folder / "password").write_text(PASSWORD)
    for name, role in (("ada", "operate"), ("vera", "view")):
        file = str(operator.folder / "password")
        operator("users", "add", name, "--role", role, "--password-file", file)
    for rows in (FEED[:1], FEED[1:]):
        operator.ingest(rows, f"{rows[0]['revision']}.jsonl")
        operator("edit", "--publish")
    operator.ingest([update("Braqui Seldor", "Peru", "2022-01-01")], "third.jsonl")
    operator("edit")
    factd = open_factd(operator.folder / "factd.toml")
    health = Health(
        "127.0.0.1",
        0,
        CollectorRegistry(),
        live=lambda: None,
        ready=lambda: None,
        hooks={},
        console=console(factd),
    )
    health.start()
    yield Place(operator, factd, health.port)
    health.stop()
    factd.store.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser"), width=1200, height=850) as found:
        yield found


def log_in(browser: Chrome, place: Place, name: str = "ada", password: str = PASSWORD) -> None:
    browser.get(place.url)
    browser.delete_all_cookies()
    browser.get(f"{place.url}/login")
    browser.find_element(By.ID, "name").send_keys(name)
    browser.find_element(By.ID, "password").send_keys(password, Keys.ENTER)
    WebDriverWait(browser, SECONDS).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".who, .problem"))


def confirm(browser: Chrome, why: str) -> str:
    """Fill the dialog that opens; what the next page says was done."""
    field = WebDriverWait(browser, SECONDS).until(
        lambda b: next(iter(b.find_elements(By.CSS_SELECTOR, "dialog[open] #why")), None)
    )
    field.send_keys(why, Keys.ENTER)
    told = WebDriverWait(browser, SECONDS).until(
        lambda b: next(iter(b.find_elements(By.CSS_SELECTOR, ".told")), None)
    )
    return str(told.text)
