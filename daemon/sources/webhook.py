"""Claims that others send to `POST /hooks/NAME` on the daemon's port, signed.

A body is stored as it came and answered with 202. The next pull reads it.

Signatures: Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,…` over
`id.timestamp.body`, https://www.standardwebhooks.com), or GitHub's (`X-Hub-Signature-256` over the
body, with `X-GitHub-Delivery` as the id). A delivery with an id that was stored before is ignored.
The body holds claims in the ingest format: one object, a list, {"updates": […]}, or a CloudEvent
(JSON or with `ce-` headers) whose data is one of these. A CloudEvent's source and id together are
the id of the delivery.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from factd.daemon.config.secrets import secret_text
from factd.daemon.network.standard_webhooks import standard_key, standard_signature
from factd.daemon.sources import SourcePage, SourcePages, SourceReader, SourceSettings, SourceTools
from factd.store.ingest.parsing import BadLine, read_item
from factd.store.model.facts import Receipt

BODIES = 100  # read from the database at once


class WebhookSourceSettings(SourceSettings):
    """[sources.webhook]"""

    secret_file: Path
    """A file that holds the shared secret: `whsec_` and base64, or any text for GitHub's style."""
    style: Literal["standard", "github"] = "standard"
    """How deliveries are signed."""
    max_bytes: int = Field(default=1024 * 1024, ge=1)
    """Largest body."""
    tolerance_seconds: int = Field(default=300, ge=1)
    """Allowed difference between the sender's clock and ours."""

    def ready(self) -> None:
        """Check the secret. Raises: BadConfig: it cannot be read."""
        secret(self)


Settings = WebhookSourceSettings  # the plugin loader looks for this name


@dataclass(frozen=True, kw_only=True)
class CheckedDelivery:
    """The result of checking a delivery: its unique key, or why it is refused."""

    key: str = ""
    status: int = 202
    reason: str = ""


def secret(settings: WebhookSourceSettings) -> bytes:
    """The key of the HMAC. Raises: BadConfig: the file cannot be read, or holds no key."""
    if settings.style == "github":
        return secret_text(settings.secret_file).encode()
    return standard_key(settings.secret_file)


def receive(
    settings: WebhookSourceSettings, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> CheckedDelivery:
    """Check that a request comes from the sender. headers: names in lower case."""
    if len(body) > settings.max_bytes:
        return CheckedDelivery(
            status=413, reason=f"the body is larger than {settings.max_bytes} bytes"
        )
    check = _github if settings.style == "github" else _standard
    checked = check(settings, headers, body, now)
    event = _event_name(headers, body) if not checked.reason else ""
    return CheckedDelivery(key=event or checked.key, status=checked.status, reason=checked.reason)


def _standard(
    settings: WebhookSourceSettings, headers: Mapping[str, str], body: bytes, now: datetime
) -> CheckedDelivery:
    id_, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "").split()
    if not id_ or not stamp.isdigit() or not signatures or len(id_) > 200 or len(stamp) > 12:
        return CheckedDelivery(
            status=400, reason="webhook-id, -timestamp and -signature are needed"
        )
    if abs(now.timestamp() - int(stamp)) > settings.tolerance_seconds:
        return CheckedDelivery(status=400, reason="webhook-timestamp is too far from this clock")
    right = standard_signature(secret(settings), id_, stamp, body).encode()
    same = [hmac.compare_digest(right, signature.encode()) for signature in signatures]
    if not any(same):
        return CheckedDelivery(status=401, reason="no signature fits")
    return CheckedDelivery(key=id_)


def _github(
    settings: WebhookSourceSettings, headers: Mapping[str, str], body: bytes, now: datetime
) -> CheckedDelivery:
    given, id_ = headers.get("x-hub-signature-256", ""), headers.get("x-github-delivery", "")
    if not given or not id_ or len(id_) > 200:
        return CheckedDelivery(
            status=400, reason="X-Hub-Signature-256 and X-GitHub-Delivery are needed"
        )
    right = "sha256=" + hmac.new(secret(settings), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), given.encode()):
        return CheckedDelivery(status=401, reason="the signature does not fit")
    return CheckedDelivery(key=id_)


def _event_name(headers: Mapping[str, str], body: bytes) -> str:
    """A CloudEvent's source and id, which are unique together. Empty for another body."""
    if "ce-id" in headers and "ce-source" in headers:
        return f"{headers['ce-source']} {headers['ce-id']}"[:400]
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(data, dict) and "specversion" in data:
        return f"{data.get('source')} {data.get('id')}"[:400]
    return ""


def pages(
    settings: WebhookSourceSettings, cursor: Mapping[str, Any], tools: SourceTools
) -> SourcePages:
    """The stored bodies in the order of their arrival, one page each. No cursor is needed."""
    after = 0
    while waiting := tools.deliveries(after, BODIES):
        for delivery in waiting:
            lines = [
                read_item(number, item, tools.catalogue)
                for number, item in enumerate(claims(delivery.body), start=1)
            ]
            receipt = Receipt(
                file=f"{tools.name}:{delivery.key}",
                retrieved_at=delivery.received_at,
                payload_hash=hashlib.sha256(delivery.body).hexdigest(),
            )
            if not lines:
                empty = delivery.body[:200].decode("utf-8", "replace")
                lines = [BadLine(number=1, reason="no claims in the ingest format", excerpt=empty)]
            yield SourcePage(lines=lines, cursor=None, receipt=receipt, deliveries=(delivery.id,))
        after = waiting[-1].id


def claims(body: bytes) -> list[Any]:
    """The claims of a body, not yet parsed. Empty if it holds none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if isinstance(data, dict) and "specversion" in data:
        data = data.get("data")
    if isinstance(data, dict) and "updates" in data:
        data = data["updates"]
    items = [data] if isinstance(data, dict) else data
    return items if isinstance(items, list) else []


_: SourceReader = pages
