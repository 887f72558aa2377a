"""A POST to a URL of yours, signed as Standard Webhooks (https://www.standardwebhooks.com), that says what to serve from now on.

Any 2xx means that it is served: whoever needs time answers when it is done, within `load_seconds`. Every POST is an order of
its own with a `webhook-id` of its own: a version comes again where another one had to be taken back, and must not be dropped
as known. A receiver remembers ids only against replays.
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
    """A [servers.NAME] of this kind"""

    def ready(self) -> None:
        """Raises: BadConfig: the secret, the URL or the key cannot be read."""
        super().ready()
        self.sendable()


Settings = WebhookServerSettings  # the plugin loader looks for this name


class Webhook(CompletionServer):
    """A receiver, and where what it serves is asked."""

    def __init__(self, settings: WebhookServerSettings, now: Callable[[], datetime]) -> None:
        super().__init__(settings)
        self.settings, self.now = settings, now
        self.key, self.target = standard_key(settings.secret_file), settings.target()
        self.receiver = Api(settings, self.target)

    def load(self, version: Version) -> None:
        """One signed POST. Raises: HandoverFailed: with the receiver's reason, and the time that it named."""
        now = self.now()
        id_, body = message_id(self.target, version, now), message(version, now)
        headers = signed_headers(self.key, id_, body, now=now)
        self.receiver.done("POST", "", body, headers=headers, seconds=self.settings.load_seconds)

    def report(self) -> Report:
        """It cannot say."""
        return Report(serving=None)

    def close(self) -> None:
        """End the connections."""
        super().close()
        self.receiver.close()


def message_id(url: str, version: Version, now: datetime) -> str:
    """Of one POST; a receiver cannot read the URL from it."""
    digest = hashlib.sha256(f"{url}\n{version.name}\n{now.isoformat()}".encode())
    return f"factd_{digest.hexdigest()[:32]}"


def message(version: Version, now: datetime) -> bytes:
    """What is to be served."""
    data = {
        "release": version.number,
        "version": version.name,
        "folder": version.folder,
        "adapter": version.adapter,
        "digest": version.digest,
    }
    said = {"type": "factd.handover", "timestamp": now.isoformat(), "data": data}
    return json.dumps(said, ensure_ascii=False).encode()


def connect(settings: WebhookServerSettings) -> Webhook:
    """A receiver. Raises: BadConfig: a file that the settings name cannot be read."""
    return Webhook(settings, lambda: datetime.now(UTC))


_: Connect = connect
