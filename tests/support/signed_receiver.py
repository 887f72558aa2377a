"""Fixtures: a receiver of signed messages, and the secret that it shares with factd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fakes.http import Asked, Fake, Reply, serving

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET + "\n")
    return tmp_path / "secret"


@pytest.fixture
def replies() -> list[Reply]:
    return [Reply(status=204)]


@pytest.fixture
def fake(replies: list[Reply]) -> Iterator[Fake]:
    def answer(_: Asked) -> Reply:
        return replies[0]

    with serving(answer) as found:
        yield found
