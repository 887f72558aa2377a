"""docs/how-to/operate/notifications.md says what the code does: its rows, its tables, its example."""

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.config.tables import NOTICE_KINDS, NotifyTable
from factd.daemon.configuration import load_config
from factd.daemon.network.standard_webhooks import signed_headers, standard_key
from factd.daemon.plugins import channels
from support.paths import ROOT
from support.world import NOW

TEXT = (ROOT / "docs" / "how-to" / "operate" / "notifications.md").read_text()


def block(language: str, holds: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return next(text for text in found if holds in text)


def test_every_kind_has_a_row() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == NOTICE_KINDS


def test_the_example_is_a_configuration_and_shows_the_defaults(tmp_path: Path) -> None:
    example = block("toml", "[notify]")
    (tmp_path / "factd.toml").write_text(f'[model]\npath = "model"\n{example}')
    config = load_config(tmp_path / "factd.toml")
    assert list(channels(config)) == ["ops", "on-call"]
    given = {k: v for k, v in tomllib.loads(example)["notify"].items() if not isinstance(v, dict)}
    assert given == {k: getattr(NotifyTable(), k) for k in given}
    assert set(given) == set(NotifyTable.model_fields)


@pytest.fixture
def is_from_factd(monkeypatch: pytest.MonkeyPatch) -> Any:
    names: dict[str, Any] = {}
    exec(block("python", "def is_from_factd"), names)
    monkeypatch.setattr(names["time"], "time", NOW.timestamp)
    return names["is_from_factd"]


def test_the_example_verifies_what_a_webhook_sends(is_from_factd: Any, tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    (tmp_path / "secret").write_text(secret)
    headers = signed_headers(standard_key(tmp_path / "secret"), "m", b"{}", now=NOW)
    assert is_from_factd(headers, b"{}", secret)
    assert not is_from_factd(headers, b"{} ", secret)
    assert not is_from_factd(headers, b"{}", "whsec_" + base64.b64encode(b"x" * 32).decode())
    assert not is_from_factd(headers | {"webhook-timestamp": "1"}, b"{}", secret)
