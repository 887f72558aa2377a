"""Signatures of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, in base64."""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, Field, model_validator

from factd.daemon.config.secrets import secret_text
from factd.daemon.errors import BadConfig

PREFIX = "whsec_"


def standard_key(path: Path) -> bytes:
    """The key of a file with `whsec_` and base64.

    Raises: BadConfig: it cannot be read or decoded.
    """
    try:
        return base64.b64decode(secret_text(path).removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise BadConfig(
            f"{path} must hold {PREFIX} followed by base64; ask for the secret again"
        ) from error


def standard_signature(key: bytes, id_: str, stamp: str, body: bytes) -> str:
    """The value of `webhook-signature`. stamp: `webhook-timestamp`, in seconds since 1970."""
    signed = b".".join((id_.encode(), stamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def signed_headers(key: bytes, id_: str, body: bytes, *, now: datetime) -> dict[str, str]:
    """Headers that prove who sent a body and when. Repeated attempts have the same id."""
    stamp = str(int(now.timestamp()))
    return {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": stamp,
        "webhook-signature": standard_signature(key, id_, stamp, body),
    }


class Receiver(BaseModel):
    """The keys of a table that say where signed messages go."""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where the POST goes."""
    url_file: Path | None = None
    """A file that holds the URL, if its path is a secret."""
    secret_file: Path
    """A file that holds `whsec_` and base64, shared with the receiver."""

    @model_validator(mode="after")
    def _has_one_url(self) -> "Receiver":
        if bool(self.url) == bool(self.url_file):
            raise ValueError("give exactly one of url and url_file")
        return self

    def target(self) -> str:
        """The URL that messages are sent to. Raises: BadConfig."""
        return secret_text(self.url_file) if self.url_file else self.url

    def sendable(self) -> None:
        """Check the files. Raises: BadConfig: the secret or the URL cannot be read."""
        standard_key(self.secret_file)
        self.target()
