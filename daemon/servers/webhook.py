"""A signed POST to a URL of yours that says which version to serve from now on.

The POST is signed as in Standard Webhooks (https://www.standardwebhooks.com). Any 2xx answer means
that the version is served: a receiver that needs time answers when it is done, within
`load_seconds`. Every POST is an order of its own with its own `webhook-id`. factd sends a version
again after it rolled back a later one, and the receiver must not drop such an order as known. A
receiver stores ids only against replays.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime

from factd.daemon.network.standard_webhooks import Receiver, signed_headers, standard_key
from factd.daemon.servers import Connect, Report, Version
from factd.daemon.servers._completions import CompletionServer, CompletionServerSettings
from factd.daemon.servers._http import Api


class WebhookServerSettings(Receiver, CompletionServerSettings):
    """The keys of a [servers.NAME] table of kind webhook."""

    def ready(self) -> None:
        """Check the files. Raises: BadConfig: the secret, the URL or the key cannot be read."""
        super().ready()
        self.sendable()


Settings = WebhookServerSettings  # the plugin loader looks for this name


class Webhook(CompletionServer):
    """A receiver, and the completions of the server behind it."""

    def __init__(self, settings: WebhookServerSettings, now: Callable[[], datetime]) -> None:
        super().__init__(settings)
        self.settings, self.now = settings, now
        self.key, self.target = standard_key(settings.secret_file), settings.target()
        self.receiver = Api(settings, self.target)

    def load(self, version: Version) -> None:
        """Send one signed POST.

        Raises: HandoverFailed: with the receiver's reason and the time that it named.
        """
        now = self.now()
        id_, body = message_id(self.target, version, now), message(version, now)
        headers = signed_headers(self.key, id_, body, now=now)
        self.receiver.done("POST", "", body, headers=headers, seconds=self.settings.load_seconds)

    def report(self) -> Report:
        """Unknown: a receiver cannot report what is served."""
        return Report(serving=None)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self.receiver.close()


def message_id(url: str, version: Version, now: datetime) -> str:
    """The id of one POST. It is a hash, so that it does not reveal the URL."""
    digest = hashlib.sha256(f"{url}\n{version.name}\n{now.isoformat()}".encode())
    return f"factd_{digest.hexdigest()[:32]}"


def message(version: Version, now: datetime) -> bytes:
    """The body of the POST: the version to serve."""
    data = {
        "release": version.number,
        "version": version.name,
        "folder": version.folder,
        "adapter": version.adapter,
        "digest": version.digest,
    }
    event = {"type": "factd.handover", "timestamp": now.isoformat(), "data": data}
    return json.dumps(event, ensure_ascii=False).encode()


def connect(settings: WebhookServerSettings) -> Webhook:
    """A receiver. Raises: BadConfig: a file that the settings name cannot be read."""
    return Webhook(settings, lambda: datetime.now(UTC))


_: Connect = connect
