"""A headless Chromium of a given size, its network requests and its console messages."""

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
INTERNAL = ("data:", "chrome:", "chrome-untrusted:", "devtools:")  # no request over a network
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
    """The paths of Chromium and its driver. Skips the test if one is not installed."""
    paths = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(paths):
        pytest.skip("chromium or chromedriver is not installed (Debian: chromium, chromium-driver)")
    return str(paths[0]), str(paths[1])


@contextmanager
def chromium(folder: Path, *, width: int, height: int) -> Iterator[Chrome]:
    """A browser whose pages are width × height CSS pixels. Its profile lies in `folder`."""
    program, driver = programs()
    options = ChromeOptions()
    options.binary_location = program
    for switch in (*SWITCHES, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    try:
        browser.set_page_load_timeout(SECONDS)
        browser.set_script_timeout(SECONDS)
        resize(browser, width=width, height=height)
        yield browser
    finally:
        browser.quit()


def resize(browser: Chrome, *, width: int, height: int) -> None:
    """Set the size of pages in CSS pixels. A phone's page is narrower than a window can be."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser: Chrome, scheme: str) -> None:
    """Set the preferred colour scheme, "light" or "dark"."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    """The lines of one of Chromium's logs since the last call."""
    driver: Any = browser  # selenium gives get_log no types
    return list(driver.get_log(name))


def requested(browser: Chrome) -> list[str]:
    """The addresses that pages requested since the last call, in order."""
    events = [json.loads(line["message"])["message"] for line in log(browser, "performance")]
    sent = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in sent if not url.startswith(INTERNAL)]


def complaints(browser: Chrome) -> list[dict[str, Any]]:
    """The messages in the browser's console since the last call."""
    return log(browser, "browser")
