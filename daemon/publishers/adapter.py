"""A LoRA adapter over the unchanged base, which PEFT, vLLM and SGLang load.

It holds the whole delta of all active facts, so that a server loads one adapter at a time. The
adapter of the base itself is zeros, so that servers can give the base, too, the name that users ask
for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from factd.daemon.publishers import Outgoing, Publisher, PublisherSettings


class AdapterPublisherSettings(PublisherSettings):
    """[publish.adapter]"""

    max_rank: int = Field(default=512, ge=1)
    """Largest rank; no more than the servers' --max-lora-rank. vLLM takes 512 at most."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the factors in the file."""
    truncate: bool = False
    """Cut a higher rank to max_rank, and measure the cut like a candidate."""


Settings = AdapterPublisherSettings  # the plugin loader looks for this name


def write(settings: AdapterPublisherSettings, release: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Write the adapter of a release.

    Raises: PublishFailed: the adapter that was cut to max_rank did not pass the gates. EditorError.
    """
    from factd.editor.deltas.lora import fill_adapter, fill_zero_adapter
    from factd.editor.errors import RankTooHigh

    options: dict[str, Any] = {"dtype": settings.dtype, "sha256": release.sha256}
    if release.delta is None:
        return fill_zero_adapter(release.base, folder, **options)
    form = {**options, "max_rank": settings.max_rank}
    try:
        return fill_adapter(release.delta, release.base, folder, **form)
    except RankTooHigh:
        if not settings.truncate or release.cut is None:
            raise
    kept = release.cut(settings.max_rank, folder)
    return fill_adapter(release.delta, release.base, folder, truncated=kept, **form)


_: Publisher = write
