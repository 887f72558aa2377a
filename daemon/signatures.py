"""Standard Webhooks' signatures, as they are made and checked: HMAC-SHA256 over `id.timestamp.body`, in base64."""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path

from daemon.config import secret_text
from daemon.errors import BadConfig

PREFIX = "whsec_"


def standard_key(path: Path) -> bytes:
    """The key that a file holds as `whsec_` and base64. Raises: BadConfig: it cannot be read or holds none."""
    try:
        return base64.b64decode(secret_text(path).removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise BadConfig(f"{path} must hold {PREFIX} and base64") from error


def standard_signature(key: bytes, id_: str, stamp: str, body: bytes) -> str:
    """The value of `webhook-signature`; stamp: of `webhook-timestamp`, seconds since 1970."""
    signed = b".".join((id_.encode(), stamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
