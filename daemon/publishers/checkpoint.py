"""A complete Hugging Face model directory, which `from_pretrained`, vLLM and SGLang load as they load any other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.publishers import Outgoing, Publisher, PublisherSettings


class Settings(PublisherSettings):
    """[publish.checkpoint]"""


def write(settings: Settings, release: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Base and delta, summed and rounded once. Raises: EditorError."""
    from editor.checkpoint import fill_checkpoint

    return fill_checkpoint(release.base, release.delta, folder)


_: Publisher = write
