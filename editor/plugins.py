"""Methods, families and checks are found by their file's name; nobody keeps a list of them."""

import importlib
import pkgutil
from types import ModuleType

from factd.editor.errors import BadSettings


def names(package: str) -> tuple[str, ...]:
    """The names of a package's modules, sorted: names("factd.editor.methods") -> ("memit",)."""
    found = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(found)))


def load(package: str, name: str) -> ModuleType:
    """One module of a package.

    Raises: BadSettings: there is none of that name; the sentence lists those there are.
    """
    known = names(package)
    if name not in known:
        raise BadSettings(f"no {name!r} in {package}; there are: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
