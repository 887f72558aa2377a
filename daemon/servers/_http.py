"""The HTTP API of a server: requests with limits, and refusals with the server's own reason."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from factd.daemon.config.secrets import secret_text
from factd.daemon.errors import HandoverFailed, SourceFailed
from factd.daemon.network.client import Client, HttpAnswer, Limits, origin, retry_after
from factd.daemon.servers import ServerSettings

EVERYWHERE = ("0.0.0.0/0", "::/0")  # an operator configured the server, so any network is allowed
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_REASON = 200  # the most characters of a server's own reason


class EngineSettings(ServerSettings):
    """The keys of every engine's table."""

    url: str = Field(pattern=r"^https?://\S+$")
    """The address of one process, without /v1."""
    api_key_file: Path | None = None
    """A file that holds the key that requests carry as a Bearer token."""

    @field_validator("url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        bare = value.rstrip("/")
        if bare.endswith("/v1") or urlsplit(bare).query:
            raise ValueError("give the server's address without /v1 and without a query")
        return bare

    def ready(self) -> None:
        """Check the key. Raises: BadConfig: it cannot be read."""
        key_in(self.api_key_file)


def key_in(path: Path | None) -> str:
    """The key in a file. Empty if no file is given. Raises: BadConfig."""
    return secret_text(path) if path else ""


class Api:
    """The HTTP API of one server. Each request has its own connection."""

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
        """Close the connection."""
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
        """The response to a request, whatever its status.

        Raises: HandoverFailed: none came in time.
        """
        kind = {"Content-Type": "application/json"} if body is not None else {}
        # vLLM closes a connection after some errors without notice: the next request would be lost
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
        """The 2xx response to a request.

        Raises: HandoverFailed: another status, with the server's reason and the time that it named.
        """
        answer = self.ask(method, path, body, headers=headers, seconds=seconds)
        if not answer.good:
            raise self.refused(answer)
        return answer

    def refused(self, answer: HttpAnswer) -> HandoverFailed:
        """The error for a response that is not 2xx."""
        why = reason(answer)
        failed = HandoverFailed(
            f"{origin(self.url)} answered {answer.status}{': ' * bool(why)}{why}"
        )
        failed.retry_seconds = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        return failed

    def table(self, answer: HttpAnswer) -> dict[str, Any]:
        """The JSON object of a response. Raises: HandoverFailed: it has another form."""
        try:
            data = json.loads(answer.body)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise HandoverFailed(f"{origin(self.url)} did not answer with a JSON object; check url")
        return data


def reason(answer: HttpAnswer) -> str:
    """Why a server refused, as one line of its own text. Empty if it gave no reason."""
    text = answer.body.decode(errors="replace")
    try:
        reasons = list(_reasons(json.loads(text)))
    except (ValueError, RecursionError):
        reasons = [text]
    line = " ".join(reasons[0].split()) if reasons else ""
    shown = "".join(c if c.isprintable() else "?" for c in line)
    return shown if len(shown) <= MAX_REASON else shown[:MAX_REASON] + "…"


def _reasons(data: Any) -> Iterator[str]:
    """The texts under the keys where engines, FastAPI and others put their reasons."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, list):
        for item in data:
            yield from _reasons(item)
    elif isinstance(data, dict):
        for key in ("error", "message", "error_message", "detail", "msg"):
            if data.get(key):
                yield from _reasons(data[key])
