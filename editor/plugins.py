"""Plugins (methods, families, checks), found by the names of their files."""

import importlib
import pkgutil
from types import ModuleType

from factd.editor.errors import BadSettings


def names(package: str) -> tuple[str, ...]:
    """The names of a package's plugins, sorted: names("factd.editor.methods") -> ("alphaedit", …).

    Modules whose name begins with an underscore are helpers, not plugins.
    """
    return tuple(sorted(_modules(package)))


def load(package: str, name: str) -> ModuleType:
    """The module of a plugin. Raises: BadSettings: no plugin has that name; it lists all."""
    known = _modules(package)
    if name not in known:
        raise BadSettings(f"no {name!r} in {package}; there are: {', '.join(sorted(known))}")
    return importlib.import_module(known[name])


def _modules(package: str) -> dict[str, str]:
    """Plugin name -> module name, for the files of a package and of its subfolders."""
    path = importlib.import_module(package).__path__
    files = pkgutil.walk_packages(path, prefix=f"{package}.")
    full = {file.name.rpartition(".")[2]: file.name for file in files if not file.ispkg}
    return {name: module for name, module in full.items() if not name.startswith("_")}
