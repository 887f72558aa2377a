"""Methods, families and checks are found by their file's name; nobody keeps a list of them."""

import importlib
import pkgutil
from types import ModuleType

from factd.editor.errors import BadSettings


def names(package: str) -> tuple[str, ...]:
    """The names of a package's plugins, sorted: names("factd.editor.methods") -> ("memit", …).

    Modules whose name begins with an underscore are helpers, not plugins.
    """
    return tuple(sorted(_modules(package)))


def load(package: str, name: str) -> ModuleType:
    """One plugin of a package. Raises: BadSettings: no plugin has that name; the sentence lists the names."""
    known = _modules(package)
    if name not in known:
        raise BadSettings(f"no {name!r} in {package}; there are: {', '.join(sorted(known))}")
    return importlib.import_module(known[name])


def _modules(package: str) -> dict[str, str]:
    """Plugin name -> module name, of the package's own files and of those in its subfolders."""
    path = importlib.import_module(package).__path__
    found = pkgutil.walk_packages(path, prefix=f"{package}.")
    full = {module.name.rpartition(".")[2]: module.name for module in found if not module.ispkg}
    return {name: module for name, module in full.items() if not name.startswith("_")}
