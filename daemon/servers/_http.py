"""The HTTP API of a server that a version is handed to: bounded, and its refusals in its own words."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from factd.daemon.config.load import secret_text
from factd.daemon.errors import HandoverFailed, SourceFailed
from factd.daemon.network.client import Client, HttpAnswer, Limits, origin, retry_after
from factd.daemon.servers import ServerSettings

EVERYWHERE = ("0.0.0.0/0", "::/0")  # an operator named the server: it may be in any network
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_REASON = 200  # characters of a server's own words


class EngineSettings(ServerSettings):
    """What every engine's table has."""

    url: str = Field(pattern=r"^https?://\S+$")  # of one process, without /v1
    api_key_file: Path | None = None  # holds the key that its requests carry as a Bearer token

    @field_validator("url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        bare = value.rstrip("/")
        if bare.endswith("/v1") or urlsplit(bare).query:
            raise ValueError("give the server's address alone, without /v1")
        return bare

    def ready(self) -> None:
        """Raises: BadConfig: the key cannot be read."""
        key_in(self.api_key_file)


def key_in(path: Path | None) -> str:
    """The key that a file holds; empty where there is no file. Raises: BadConfig."""
    return secret_text(path) if path else ""


class Api:
    """One server, asked over a connection of its own each time."""

    def __init__(self, settings: ServerSettings, url: str, *, key: str = "") -> None:
        self.url, self.seconds = url, settings.answer_seconds
        longest = max(settings.load_seconds, settings.answer_seconds)
        self.client = Client(
            Limits(
                user_agent=f"factd/{version('factd')}",
                seconds=longest,
                connect_seconds=settings.answer_seconds,
                bytes=MAX_ANSWER_BYTES,
                requests_per_minute=math.inf,
                networks=EVERYWHERE,
                token=key,
            )
        )

    def close(self) -> None:
        """End the connection."""
        self.client.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        headers: Mapping[str, str] = {},
        seconds: float | None = None,
    ) -> HttpAnswer:
        """The whole answer, whatever its status. Raises: HandoverFailed: none came in time."""
        kind = {"Content-Type": "application/json"} if body is not None else {}
        # vLLM closes a connection after some of its errors without saying so: the next request would be lost
        sent = {"Connection": "close", **kind, **headers}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            return self.client.send(
                method,
                self.url + path,
                body=content,
                headers=sent,
                seconds=seconds or self.seconds,
            )
        except SourceFailed as error:
            raise HandoverFailed(str(error)) from error

    def done(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        headers: Mapping[str, str] = {},
        seconds: float | None = None,
    ) -> HttpAnswer:
        """An answer that is a 2xx. Raises: HandoverFailed: with the server's reason, and the time that it named."""
        answer = self.ask(method, path, body, headers=headers, seconds=seconds)
        if not answer.good:
            raise self.refused(answer)
        return answer

    def refused(self, answer: HttpAnswer) -> HandoverFailed:
        """What an answer that is no 2xx says."""
        why = reason(answer)
        failed = HandoverFailed(
            f"{origin(self.url)} answered {answer.status}{': ' * bool(why)}{why}"
        )
        failed.retry_seconds = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        return failed

    def table(self, answer: HttpAnswer) -> dict[str, Any]:
        """A 2xx answer's JSON object. Raises: HandoverFailed: it is none."""
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HandoverFailed(
                f"{origin(self.url)} answered no JSON object; is it what url says?"
            )
        return found


def reason(answer: HttpAnswer) -> str:
    """Why a server refused, in one line of its own words; empty where it does not say."""
    text = answer.body.decode(errors="replace")
    try:
        said = list(_words(json.loads(text)))
    except (ValueError, RecursionError):
        said = [text]
    line = " ".join(said[0].split()) if said else ""
    shown = "".join(c if c.isprintable() else "?" for c in line)
    return shown if len(shown) <= MAX_REASON else shown[:MAX_REASON] + "…"


def _words(said: Any) -> Iterator[str]:
    """Texts under the keys that engines, FastAPI and others put their reasons under."""
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for item in said:
            yield from _words(item)
    elif isinstance(said, dict):
        for key in ("error", "message", "error_message", "detail", "msg"):
            if said.get(key):
                yield from _words(said[key])
