"""BMIKE-53 (arXiv:2406.17764): CounterFact and others as questions in many languages."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element
from factd.editor.datasets.formats._pairs import neighbour, pair_draft, unrelated


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a source sentence and a portability question of its own field."""
    return {"src", "alt", "port"} <= set(fields)


def draft(element: Element) -> Draft:
    """The edit and its questions. Without an old object the `loc` question is an unrelated one."""
    port = DraftQuestion(
        kind="portability", text=element.optional("port"), answers=element.texts("port_ans")
    )
    other = neighbour(element) if element.optional("old") else unrelated(element)
    return pair_draft(element, other, port)
