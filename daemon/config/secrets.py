"""Secrets: read from their files, and masked in whatever is shown or logged."""

import re
from pathlib import Path

from sqlalchemy import make_url

from factd.daemon.errors import BadConfig


def secret_text(path: Path) -> str:
    """The secret in a file, without the end of its line. Raises: BadConfig: unreadable or empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadConfig(f"{path} cannot be read ({reason}); write the secret into it") from error
    if not text:
        raise BadConfig(f"{path} is empty; write the secret into it")
    return text


def without_secrets(text: str) -> str:
    """A text with its secrets masked: passwords and queries of URLs, tokens, webhook secrets."""
    masked = re.sub(r"(://[^\s:/@]*):[^\s@]*@", r"\1:***@", text)
    masked = re.sub(r"(?i)(whsec_|\b(?:bearer|basic) )[\w+/=.~-]{8,}", r"\1***", masked)
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]*", r"\1?***", masked)


def without_password(url: str) -> str:
    """A database URL with its password masked."""
    return make_url(url).render_as_string(hide_password=True) if url else url
