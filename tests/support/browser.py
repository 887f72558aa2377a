"""A headless Chromium for tests: of a given size, with what it asked for and what it complained about."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

SECONDS = 60
OWN = ("data:", "chrome:", "chrome-untrusted:", "devtools:")  # of the page, of the browser
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def programs() -> tuple[str, str]:
    """Chromium and its driver; the test is skipped where one is not installed. Nothing is downloaded."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(found):
        pytest.skip("chromium or chromedriver is not installed (Debian: chromium, chromium-driver)")
    return str(found[0]), str(found[1])


@contextmanager
def chromium(folder: Path, *, width: int, height: int) -> Iterator[Chrome]:
    """A browser whose pages are width × height CSS pixels; it is ended. folder: where its profile is kept."""
    browser, driver = programs()
    options = ChromeOptions()
    options.binary_location = browser
    for switch in (*SWITCHES, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = Chrome(options=options, service=Service(driver))
    try:
        found.set_page_load_timeout(SECONDS)
        found.set_script_timeout(SECONDS)
        resize(found, width=width, height=height)
        yield found
    finally:
        found.quit()


def resize(browser: Chrome, *, width: int, height: int) -> None:
    """Pages are width × height CSS pixels from now on; a phone's are narrower than a window can be."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser: Chrome, scheme: str) -> None:
    """The reader prefers "light" or "dark" pages."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    """The lines of one of Chromium's logs since the last call."""
    driver: Any = browser  # selenium gives get_log no types
    return list(driver.get_log(name))


def requested(browser: Chrome) -> list[str]:
    """What pages asked for since the last call, addresses in order."""
    events = [json.loads(line["message"])["message"] for line in log(browser, "performance")]
    sent = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in sent if not url.startswith(OWN)]


def complaints(browser: Chrome) -> list[dict[str, Any]]:
    """What the console says since the last call."""
    return log(browser, "browser")
