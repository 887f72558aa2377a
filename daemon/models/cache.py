"""Where converted models lie: one folder for each name, in the user's cache.

The place is that of the XDG base directories: `$XDG_CACHE_HOME/factd/models/NAME`, or
`~/.cache/factd/models/NAME`. A folder appears whole, so that a folder with a manifest is complete.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from factd.daemon.errors import Refused
from factd.daemon.models.known import KNOWN
from factd.editor.files.manifests import MANIFEST


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of all converted models.

    environment: its XDG_CACHE_HOME is used if it is an absolute path, as the XDG specification
    says. None: that of this process.
    """
    given = Path((os.environ if environment is None else environment).get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "factd" / "models"


def folder(name: str, cache: Path | None = None) -> Path | None:
    """The folder of a known model that was converted before, or None.

    cache: the folder of all converted models. None: `cache_folder()`.
    """
    found = (cache_folder() if cache is None else cache) / name
    return found if name in KNOWN and (found / MANIFEST).is_file() else None


def resolve(model: Path | str, cache: Path | None = None) -> Path:
    """A model's folder, from its path or from a name of `KNOWN`.

    A path that exists is taken as it is, even if it reads like a name.

    Raises: Refused: the name is known, but the model was not fetched yet.
    """
    name, path = str(model), Path(model)
    if name not in KNOWN or path.exists():
        return path
    found = folder(name, cache)
    if found is None:
        raise Refused(f"the model {name} is not on this machine; run `factd models get {name}`")
    return found
