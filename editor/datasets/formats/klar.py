"""KLAR (arXiv:2504.04264): facts in 17 languages; a file for each relation, a folder a language.

KLAR asks what a model knows and has no new objects. The first of its candidates that is not the
object becomes the new one. The candidates have one order in all languages.
"""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element
from factd.editor.errors import BadEdit
from factd.editor.scoring.judge import normalised

SUBJECT, OBJECT = "<subject>", "<mask>"


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it is a sample with the templates of its file."""
    return {"subject", "object", "prompt_templates"} <= set(fields)


def draft(element: Element) -> Draft:
    """The edit in the first template that ends with its object; the others are paraphrases.

    Raises: BadEdit: no template ends with the object, or there is no other candidate.
    """
    subject, old = element.text("subject"), element.text("object")
    prompts = [
        text.removesuffix(OBJECT).strip()
        for text in element.texts("prompt_templates")
        if text.endswith(OBJECT) and text.count(SUBJECT) == 1
    ]
    new = next((c for c in candidates(element) if normalised(c) != normalised(old)), "")
    if not prompts or not new:
        missing = "candidate other than its object" if prompts else "template that ends in <mask>"
        raise BadEdit(f"it has no {missing}")
    return Draft(
        subject=subject,
        prompt=prompts[0].replace(SUBJECT, "{}"),
        target_new=new,
        target_true=old,
        relation=element.optional("name"),
        questions=tuple(
            DraftQuestion(
                kind="paraphrase",
                text=text.replace(SUBJECT, subject),
                answers=(new,),
                contrast=old,
            )
            for text in prompts[1:]
        ),
    )


def candidates(element: Element) -> tuple[str, ...]:
    """The objects of the relation to choose from: a list, or one text with commas."""
    listed = element.texts("object_candidates")
    return tuple(part.strip() for text in listed for part in text.split(",") if part.strip())
