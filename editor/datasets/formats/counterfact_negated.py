"""CounterFact with a negated prompt for each record: "The mother tongue of … is not"."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element
from factd.editor.datasets.formats.counterfact import rewrite_questions

NEGATED = ("negetive_prompt", "negative_prompt")  # the data spells it with an e


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a negated prompt."""
    return any(name in fields for name in NEGATED)


def draft(element: Element) -> Draft:
    """The edit, and what the negated prompt must not say: the new object.

    After the edit the old object is an answer to it, and so is the random third one of the data.
    """
    new, old = element.text("target_new"), element.text("target_true")
    third = element.optional("target_random")
    negated = next(filter(None, map(element.optional, NEGATED)), "")
    answers = (old, third) if third else (old,)
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("prompt"),
        target_new=new,
        target_true=old,
        questions=(
            *rewrite_questions(element, new, old),
            DraftQuestion(kind="negation", text=negated, answers=answers, contrast=new),
        ),
    )
