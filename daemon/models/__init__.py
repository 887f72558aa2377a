"""Real models that factd knows by name: what is downloaded, and where the converted folders lie.

How a GGUF file becomes a checkpoint belongs to `editor/models/gguf.py`, the commands to
`cli/models`. Nothing here is about the base model of a running daemon; that is `workbench`.
"""

from factd.daemon.models.cache import cache_folder, folder, resolve
from factd.daemon.models.known import KNOWN, KnownModel, Wheel, known_model

__all__ = ["KNOWN", "KnownModel", "Wheel", "cache_folder", "folder", "known_model", "resolve"]
