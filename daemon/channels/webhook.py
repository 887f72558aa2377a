"""A POST to a URL of yours, signed as in Standard Webhooks (https://www.standardwebhooks.com).

The headers are `webhook-id`, which is the same for every attempt, `webhook-timestamp`, and
`webhook-signature: v1,…`, HMAC-SHA256 over `id.timestamp.body`. Any 2xx status means that the
message arrived. Redirects are not followed. Only the public internet is reached, and the networks
in `allow_networks`.
"""

import json
from datetime import datetime
from importlib.metadata import version
from ipaddress import ip_network

from pydantic import field_validator

from factd.daemon.channels import Channel, ChannelSettings, Message
from factd.daemon.errors import NotSent, SourceFailed
from factd.daemon.network.client import Client, Limits
from factd.daemon.network.standard_webhooks import Receiver, signed_headers, standard_key

MAX_ANSWER_BYTES = 64 * 1024  # the answer's body is not used


class WebhookChannelSettings(Receiver, ChannelSettings):
    """[notify.webhook]"""

    allow_networks: tuple[str, ...] = ()
    """Private networks that may be reached, like "10.1.0.0/16"."""

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ip_network(text)
        return value

    def ready(self) -> None:
        """Check secret and URL. Raises: BadConfig: one cannot be read."""
        self.sendable()


Settings = WebhookChannelSettings  # the plugin loader looks for this name


def send(settings: WebhookChannelSettings, message: Message, *, now: datetime) -> None:
    """Send one signed POST. Raises: NotSent, BadConfig."""
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
        headers = signed_headers(standard_key(settings.secret_file), message.id, body, now=now)
        client.post(settings.target(), body=body, headers=headers)
    except SourceFailed as error:
        failed = NotSent(str(error))
        failed.retry_seconds = error.retry_seconds
        raise failed from error
    finally:
        client.close()


_: Channel = send
