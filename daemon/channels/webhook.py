"""A POST to a URL of yours, signed as Standard Webhooks (https://www.standardwebhooks.com): `webhook-id`, which is the same
for every attempt, `webhook-timestamp`, and `webhook-signature: v1,…`, HMAC-SHA256 over `id.timestamp.body`.

Any 2xx is an arrival. Redirects are not followed, and only the public internet is asked unless `allow_networks` says more.
"""

import json
from datetime import datetime
from importlib.metadata import version
from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from daemon.channels import Channel, ChannelSettings, Message
from daemon.client import Client, Limits
from daemon.config import secret_text
from daemon.errors import NotSent, SourceFailed
from daemon.signatures import standard_key, standard_signature

MAX_ANSWER_BYTES = 64 * 1024  # which nobody reads


class Settings(ChannelSettings):
    """[notify.webhook]"""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    url_file: Path | None = None  # a file that holds it, where its path is a secret
    secret_file: Path  # `whsec_` and base64, shared with the receiver
    allow_networks: tuple[str, ...] = ()  # private networks, as "10.1.0.0/16"

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ip_network(text)
        return value

    @model_validator(mode="after")
    def _has_one_url(self) -> "Settings":
        if bool(self.url) == bool(self.url_file):
            raise ValueError("give url or url_file, one of them")
        return self

    def ready(self) -> None:
        """Raises: BadConfig: the secret or the URL cannot be read."""
        standard_key(self.secret_file)
        self.target()

    def target(self) -> str:
        """The URL. Raises: BadConfig."""
        return secret_text(self.url_file) if self.url_file else self.url


def headers(settings: Settings, message: Message, body: bytes, *, now: datetime) -> dict[str, str]:
    """What proves that a body is ours, and of when. Raises: BadConfig: the secret cannot be read."""
    stamp, key = str(int(now.timestamp())), standard_key(settings.secret_file)
    return {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": stamp,
        "webhook-signature": standard_signature(key, message.id, stamp, body),
    }


def send(settings: Settings, message: Message, *, now: datetime) -> None:
    """One signed POST. Raises: NotSent, BadConfig."""
    body = json.dumps(message.as_json(), ensure_ascii=False).encode()
    limits = Limits(
        user_agent=f"factd/{version('factd')}",
        seconds=settings.timeout_seconds,
        connect_seconds=settings.timeout_seconds,
        bytes=MAX_ANSWER_BYTES,
        networks=settings.allow_networks,
    )
    client = Client(limits, now=lambda: now)
    try:
        client.post(settings.target(), body=body, headers=headers(settings, message, body, now=now))
    except SourceFailed as error:
        failed = NotSent(str(error))
        failed.retry_seconds = error.retry_seconds
        raise failed from error
    finally:
        client.close()


_: Channel = send
