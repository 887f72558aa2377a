"""WikiFactDiff (arXiv:2403.14364) as translated pairs (MultiKnow): changes between two dumps."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, Element
from factd.editor.datasets.formats._pairs import neighbour, pair_draft


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a source sentence and an old object, and no portability questions."""
    return {"src", "alt", "old"} <= set(fields) and not {"port", "portability"} & set(fields)


def draft(element: Element) -> Draft:
    """The edit and its questions."""
    return pair_draft(element, neighbour(element))
