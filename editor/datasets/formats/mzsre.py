"""MzsRE (ReMaKE, arXiv:2312.13040): zsRE as questions in many languages, without old objects."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element
from factd.editor.datasets.formats._pairs import pair_draft, unrelated


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a source sentence and a group of portability questions."""
    return {"src", "alt", "portability"} <= set(fields) and "port" not in fields


def draft(element: Element) -> Draft:
    """The edit and its questions."""
    port = DraftQuestion(
        kind="portability",
        text=element.optional("portability", "New Question"),
        answers=element.texts("portability", "New Answer"),
    )
    return pair_draft(element, unrelated(element), port)
