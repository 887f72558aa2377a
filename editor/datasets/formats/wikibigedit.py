"""WikiBigEdit (arXiv:2503.05683), and EasyEdit's plain form, which has the same fields."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element
from factd.editor.datasets.prompts import is_unrelated


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has one locality prompt beside the edit."""
    return {"prompt", "target_new", "locality_prompt"} <= set(fields)


def draft(element: Element) -> Draft:
    """The edit and its questions; the locality prompt is about another subject, or unrelated."""
    new, old = element.text("target_new"), element.texts("ground_truth")
    before, other = old[0] if old else "", element.optional("locality_prompt")
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("prompt"),
        target_new=new,
        target_true=before,
        questions=(
            DraftQuestion(
                kind="paraphrase",
                text=element.optional("rephrase_prompt"),
                answers=(new,),
                contrast=before,
            ),
            DraftQuestion(
                kind="locality" if is_unrelated(other) else "neighbourhood",
                text=other,
                answers=element.texts("locality_ground_truth"),
                contrast="" if is_unrelated(other) else new,
            ),
            DraftQuestion(
                kind="portability",
                text=element.optional("portability_prompt"),
                answers=element.texts("portability_ground_truth"),
            ),
        ),
    )
