"""The formats of public benchmark data. One small file for each; its name is the format's name.

A file has two functions. `fits` says whether an element looks like the format; no element fits two
formats. `draft` takes what the format says out of an element, and raises BadEdit if something is
missing. Files and languages belong to `elements`, checks of the result to `drafts`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from factd.editor import plugins
from factd.editor.datasets.drafts import Draft, Element


class Format(Protocol):
    """A file of this folder."""

    def fits(self, fields: Mapping[str, Any], /) -> bool:
        """Whether an element with these fields looks like the format."""
        ...

    def draft(self, element: Element, /) -> Draft:
        """What the element says. Raises: BadEdit: something is missing."""
        ...


def format_names() -> tuple[str, ...]:
    """The names of all formats, sorted."""
    return plugins.names(__name__)


def load_format(name: str) -> Format:
    """The format of a name. Raises: BadSettings: there is none; it lists all."""
    return plugins.load(__name__, name)  # type: ignore[return-value]  # a module with the functions
