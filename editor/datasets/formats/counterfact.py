"""CounterFact in its original form (Meng et al. 2022, arXiv:2202.05262).

Its attribute and generation prompts are left out: the first ask for facts that the edit makes
easier, the second have no answers.
"""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a requested rewrite."""
    return "requested_rewrite" in fields


def draft(element: Element) -> Draft:
    """The rewrite; neighbours have the old object, and the new one must not win there."""
    new = element.text("requested_rewrite", "target_new", "str")
    old = element.text("requested_rewrite", "target_true", "str")
    return Draft(
        subject=element.text("requested_rewrite", "subject"),
        prompt=element.text("requested_rewrite", "prompt"),
        target_new=new,
        target_true=old,
        relation=element.optional("requested_rewrite", "relation_id"),
        questions=rewrite_questions(element, new, old),
    )


def rewrite_questions(element: Element, new: str, old: str) -> tuple[DraftQuestion, ...]:
    """The paraphrases and the neighbourhood prompts of a record."""
    paraphrases = element.texts("paraphrase_prompts")
    neighbours = element.texts("neighborhood_prompts")
    return (
        *(
            DraftQuestion(kind="paraphrase", text=t, answers=(new,), contrast=old)
            for t in paraphrases
        ),
        *(
            DraftQuestion(kind="neighbourhood", text=t, answers=(old,), contrast=new)
            for t in neighbours
        ),
    )
