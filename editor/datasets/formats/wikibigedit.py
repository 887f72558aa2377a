"""WikiBigEdit (arXiv:2503.05683), and EasyEdit's plain form, which has the same fields."""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, Element, Question


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has one locality prompt beside the edit."""
    return {"prompt", "target_new", "locality_prompt"} <= set(fields)


def draft(element: Element) -> Draft:
    """The edit and its questions; the locality prompt asks another subject's relation."""
    new, old = element.text("target_new"), element.texts("ground_truth")
    before = old[0] if old else ""
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("prompt"),
        target_new=new,
        target_true=before,
        questions=(
            Question(
                kind="paraphrase",
                text=element.optional("rephrase_prompt"),
                answers=(new,),
                contrast=before,
            ),
            Question(
                kind="neighbourhood",
                text=element.optional("locality_prompt"),
                answers=element.texts("locality_ground_truth"),
                contrast=new,
            ),
            Question(
                kind="portability",
                text=element.optional("portability_prompt"),
                answers=element.texts("portability_ground_truth"),
            ),
        ),
    )
