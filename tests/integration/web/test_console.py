"""The console in a real Chromium on the daemon's real port: log in, approve, roll back; and everybody who is turned away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.ui import WebDriverWait

import support.browsers.axe
from factd.daemon.app import App, open_app
from factd.daemon.web.app import console
from factd.daemon.web.http import DaemonHttp
from support.browsers.chromium import chromium, complaints, prefer, requested, resize
from support.terminal import FEED, Operator

SECONDS = 30
PASSWORD = "correct horse battery"
PAGES = ("/", "/facts", "/facts?q=z", "/candidates", "/candidates/2", "/releases", "/releases/1")
MORE_PAGES = ("/audit", "/actions/freeze", "/actions/approve/2", "/releases/99", "/login")


class Place:
    """A console whose release 1 is live and whose release 2 waits for an operator."""

    def __init__(self, operator: Operator, app: App, port: int) -> None:
        self.operator, self.app, self.url = operator, app, f"http://127.0.0.1:{port}"
        self.tokens = {
            role: operator("tokens", "add", role, "--role", role)["token"]
            for role in ("operate", "view")
        }

    def api(self, method: str, path: str, role: str = "", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        with httpx.Client(timeout=SECONDS) as client:
            return client.request(method, f"{self.url}/api/v1{path}", headers=headers, **more)

    @contextmanager
    def session(self, name: str = "ada") -> Iterator[httpx.Client]:
        """Somebody who is logged in with a password, not in a browser."""
        with httpx.Client(base_url=self.url, timeout=SECONDS) as client:
            done = client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
            assert done.status_code == 200, done.text
            client.headers["X-CSRF-Token"] = done.json()["csrf"]
            yield client

    def audit(self) -> list[dict[str, str]]:
        return list(self.api("GET", "/audit", "view").json()["items"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    operator = Operator(tmp_path_factory.mktemp("console") / "world")
    file = operator.folder / "password"
    file.write_text(PASSWORD)
    for name, role in (("ada", "operate"), ("vera", "view")):
        operator("users", "add", name, "--role", role, "--password-file", str(file))
    operator.ingest(FEED[:1], "first.jsonl")
    operator("edit", "--publish")
    operator.ingest(FEED[1:], "second.jsonl")
    operator("edit")
    app = open_app(operator.folder / "factd.toml")
    probes: dict[str, Any] = {"live": lambda: None, "ready": lambda: None, "hooks": {}}
    registry = CollectorRegistry()
    health = DaemonHttp("127.0.0.1", 0, registry, **probes, console=console(app))
    health.start()
    yield Place(operator, app, health.port)
    health.stop()
    app.ledger.store.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser"), width=1200, height=850) as found:
        yield found


def wait_for(browser: Chrome, selector: str) -> WebElement:
    return WebDriverWait(browser, SECONDS).until(
        presence_of_element_located((By.CSS_SELECTOR, selector))
    )


def log_in(browser: Chrome, place: Place, name: str = "ada", password: str = PASSWORD) -> None:
    browser.get(f"{place.url}/login")
    browser.delete_all_cookies()
    browser.find_element(By.ID, "name").send_keys(name)
    browser.find_element(By.ID, "password").send_keys(password, Keys.ENTER)
    wait_for(browser, ".who, .problem")


def press(browser: Chrome, label: str) -> None:
    """By keyboard alone: the focus goes to the button, Enter presses it."""
    found = browser.find_element(By.XPATH, f"//main//a[starts-with(normalize-space(), '{label}')]")
    browser.execute_script("arguments[0].focus()", found)
    found.send_keys(Keys.ENTER)


def confirm(browser: Chrome, why: str) -> str:
    """Give a reason in the dialog that opens; what the next page says was done."""
    wait_for(browser, "dialog[open] #why").send_keys(why, Keys.ENTER)
    return wait_for(browser, ".told").text


def test_nobody_gets_in_without_a_password(browser: Chrome, place: Place) -> None:
    browser.get(f"{place.url}/releases")
    assert browser.current_url == f"{place.url}/login?next=/releases"
    log_in(browser, place, password="wrong")
    assert "no account has this name and password" in wait_for(browser, ".problem").text
    log_in(browser, place, name="nobody")
    assert "no account has this name and password" in wait_for(browser, ".problem").text


def test_an_operator_logs_in_approves_and_rolls_back(browser: Chrome, place: Place) -> None:
    log_in(browser, place)
    assert "Release 1" in browser.find_element(By.ID, "overview").text
    browser.get(f"{place.url}/candidates/2")
    press(browser, "Approve")
    assert "Release 2 is approved" in confirm(browser, "looks right")
    assert place.operator("releases", "publish", "2")["status"] == "live"

    browser.get(f"{place.url}/releases/1")
    press(browser, "Roll back to it")
    assert "Release 1 is live again" in confirm(browser, "something is odd")
    assert place.operator("status")["live"]["number"] == 1
    assert place.operator("status")["published"] == 1

    browser.get(place.url)
    press(browser, "Unfreeze")
    assert confirm(browser, "seen to") == "factd is no longer frozen."
    said = {(row["who"], row["what"].split(" (")[0], row["why"]) for row in place.audit()}
    assert {
        ("ada", "approve 2", "looks right"),
        ("ada", "rollback --to 1", "something is odd"),
        ("ada", "unfreeze", "seen to"),
    } <= said
    assert {
        line["message"] for line in complaints(browser) if "401" not in line["message"]
    } == set()
    assert all(url.startswith(place.url) for url in requested(browser))


def test_everything_works_without_scripts(browser: Chrome, place: Place) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        log_in(browser, place)
        for label, told in (
            ("Freeze", "factd is frozen."),
            ("Unfreeze", "factd is no longer frozen."),
        ):
            browser.get(place.url)
            browser.find_element(By.XPATH, f"//main//a[starts-with(., '{label}')]").click()
            wait_for(browser, "#why").send_keys("a drill", Keys.ENTER)
            assert wait_for(browser, ".told").text == told
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_who_may_look_sees_no_buttons_and_is_refused(browser: Chrome, place: Place) -> None:
    log_in(browser, place, name="vera")
    for path in ("/", "/releases/2", "/candidates/2"):
        browser.get(place.url + path)
        assert browser.find_elements(By.CSS_SELECTOR, "main a[data-confirm]") == []
    browser.get(f"{place.url}/actions/freeze")
    assert "may only read" in browser.find_element(By.CSS_SELECTOR, ".problem").text


@pytest.mark.parametrize("size", [(1200, 850), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_barrier(
    browser: Chrome, place: Place, scheme: str, size: tuple[int, int]
) -> None:
    log_in(browser, place)
    fact = place.api("GET", "/facts?status=active", "view").json()["items"][0]["id"]
    prefer(browser, scheme)
    resize(browser, width=size[0], height=size[1])
    found = {}
    for path in (*PAGES, f"/facts/{fact}", *MORE_PAGES):
        browser.get(place.url + path)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        found[path] = support.browsers.axe.violations(browser) + (
            [f"{wide} px wide"] if wide > size[0] else []
        )
    browser.get(place.url)
    press(browser, "Freeze")
    wait_for(browser, "dialog[open] #why")
    found["the dialog"] = support.browsers.axe.violations(browser)
    assert {path: what for path, what in found.items() if what} == {}


def test_a_barrier_would_be_found(browser: Chrome, place: Place) -> None:
    browser.get(f"{place.url}/login")
    browser.execute_script("document.querySelectorAll('label').forEach(label => label.remove())")
    assert any(
        found.startswith("label (critical)") for found in support.browsers.axe.violations(browser)
    )


def test_the_report_is_shown_with_fewer_rights(browser: Chrome, place: Place) -> None:
    log_in(browser, place)
    browser.get(f"{place.url}/candidates/2/report")
    assert "candidate 2" in browser.find_element(By.TAG_NAME, "h1").text.lower()
    with place.session() as client:
        policy = client.get("/candidates/2/report").headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;") and "script-src" not in policy


def test_the_api_refuses_who_brings_no_token_or_a_wrong_one(place: Place) -> None:
    assert place.api("GET", "/overview").status_code == 401
    assert place.api("POST", "/freeze", json={"why": "x"}).status_code == 401
    place.tokens["wrong"] = "factd_wrong"
    refused = place.api("POST", "/freeze", "wrong", json={"why": "x"})
    assert (refused.status_code, list(refused.json())) == (401, ["error"])


def test_the_api_refuses_the_view_role(place: Place) -> None:
    for path in ("/freeze", "/unfreeze", "/releases/2/approve", "/facts/0000/withdraw"):
        assert place.api("POST", path, "view", json={"why": "x"}).status_code == 403
    with place.session("vera") as client:
        assert client.post("/api/v1/freeze", json={"why": "x"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": "wrong"},
        {"X-CSRF-Token": ""},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_session_needs_its_own_csrf_token(headers: dict[str, str], place: Place) -> None:
    with place.session() as client:
        refused = client.post("/api/v1/freeze", json={"why": "x"}, headers=headers)
        assert refused.status_code == 403
        csrf = {"csrf": headers.get("X-CSRF-Token", client.headers["X-CSRF-Token"]), "why": "x"}
        form = client.post("/actions/freeze", data=csrf, headers=headers)
        assert form.status_code == 403
    assert place.operator("status")["frozen"] is None


def test_a_host_that_is_not_ours_is_refused(place: Place) -> None:
    with httpx.Client(base_url=place.url) as client:
        assert client.get("/login", headers={"Host": "evil.example"}).status_code == 400
        assert client.get("/livez", headers={"Host": "evil.example"}).status_code == 200


def test_a_login_makes_a_new_session_and_a_logout_ends_it(place: Place) -> None:
    with place.session() as client:
        before = client.cookies["factd"]
        client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
        after = client.cookies["factd"]
        assert before != after
        client.cookies.set("factd", before, domain="127.0.0.1", path="/")
        old = httpx.get(f"{place.url}/api/v1/me", headers={"Cookie": f"factd={before}"})
        assert old.status_code == 401
        new = {"Cookie": f"factd={after}"}
        csrf = httpx.get(f"{place.url}/api/v1/me", headers=new).json()["csrf"]
        done = httpx.delete(f"{place.url}/api/v1/session", headers={**new, "X-CSRF-Token": csrf})
        assert done.status_code == 204
        assert httpx.get(f"{place.url}/api/v1/me", headers=new).status_code == 401


def test_the_same_is_done_through_the_api(place: Place) -> None:
    overview = place.api("GET", "/overview", "view").json()
    assert overview["budget"]["left"] == overview["budget"]["capacity"] - overview["live"]["facts"]
    (fact,) = place.api("GET", "/facts?q=kagle&status=pending", "view").json()["items"]
    done = place.api("POST", f"/facts/{fact['id']}/withdraw", "operate", json={"why": "not so"})
    assert done.status_code == 200
    found = place.api("GET", f"/facts/{fact['id']}", "view").json()
    assert found["fact"]["status"] == "withdrawn"
    (verdict,) = found["verdicts"].values()
    assert (verdict["who"], verdict["why"]) == ("token operate", "not so")
    assert place.operator("status")["facts"]["withdrawn"] == 1
    asked = place.api("GET", "/overview", "view").json()["tasks"]
    assert [(task["kind"], task["status"]) for task in asked] == [("edit", "waiting")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/releases/99", None, 404),
        ("GET", "/candidates/99", None, 404),
        ("GET", "/facts/ffff", None, 404),
        ("GET", "/facts?after=x", None, 422),
        ("GET", "/facts?status=nonsense", None, 422),
        ("POST", "/freeze", {"why": "   "}, 422),
        ("POST", "/freeze", {"why": "a\0b"}, 422),
        ("POST", "/freeze", {}, 422),
        ("POST", "/unfreeze", {"why": "x"}, 409),
        ("POST", "/releases/0/approve", {"why": "x"}, 409),
        ("POST", "/releases/1/roll-back", {"why": "it is live"}, 409),
        ("GET", "/nonsense", None, 404),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    method: str, path: str, body: dict[str, str] | None, status: int, place: Place
) -> None:
    refused = place.api(method, path, "operate", json=body)
    assert (refused.status_code, list(refused.json())) == (status, ["error"])
    assert refused.json()["error"]


def test_a_large_body_is_refused_before_it_is_read(place: Place) -> None:
    refused = place.api("POST", "/freeze", "operate", content=b"x" * 70_000)
    assert refused.status_code == 413


def test_headers_leave_no_room(place: Place) -> None:
    with httpx.Client(base_url=place.url) as client:
        for path in ("/login", "/static/console.js", "/api/v1/openapi.json", "/nothing"):
            headers = client.get(path).headers
            policy = headers["Content-Security-Policy"]
            assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
    with place.session() as again:
        cookie = again.post("/api/v1/session", json={"name": "ada", "password": PASSWORD}).headers[
            "Set-Cookie"
        ]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
