"""EasyEdit and KnowEdit (arXiv:2401.01286): zsRE, recent facts, and others of the same form.

Two kinds of labels are wrong by construction and are repaired. "Forgetfulness" asks for the other
objects and lists the new one among them. "Relation_Specificity" asks for other relations of the
subject, but sometimes for the edited one, and expects the old object.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element, flat_texts
from factd.editor.scoring.judge import normalised

PORTABILITY = {"Subject_Aliasing": "alias"}  # kinds of questions; the others: "portability"
SAME_SUBJECT = ("Relation_Specificity", "Forgetfulness")


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has portability or locality in groups."""
    groups = [fields.get(name) for name in ("locality", "portability")]
    return "prompt" in fields and any(isinstance(group, Mapping) for group in groups)


def draft(element: Element) -> Draft:
    """The edit with its questions. The old object is the ground truth, if there is one."""
    new = element.text("target_new")
    old = element.texts("ground_truth")
    rephrased = element.texts("rephrase_prompt") + element.texts("rephrase")
    questions = [
        DraftQuestion(kind="paraphrase", text=text, answers=(new,), contrast=old[0] if old else "")
        for text in rephrased
    ]
    questions += _portability(element)
    questions += _locality(element, (new, *old))
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("prompt"),
        target_new=new,
        target_true=old[0] if old else "",
        questions=tuple(questions),
    )


def _portability(element: Element) -> Iterator[DraftQuestion]:
    for group, prompt, answers in _grouped(element, "portability"):
        kind = PORTABILITY.get(group, "portability")
        yield DraftQuestion(kind=kind, text=prompt, answers=flat_texts(answers))


def _locality(element: Element, edited: Sequence[str]) -> Iterator[DraftQuestion]:
    """What must not change. edited: the new and old objects, which belong to the edited fact."""
    excluded = {normalised(label) for label in edited}
    for group, prompt, answers in _grouped(element, "locality"):
        objects = answers if isinstance(answers, list) else [answers]
        kept = [
            labels
            for labels in map(flat_texts, objects)
            if not excluded & {normalised(label) for label in labels}
        ]
        kind = "same_subject" if group in SAME_SUBJECT else "locality"
        yield DraftQuestion(kind=kind, text=prompt, answers=flat_texts(kept))


def _grouped(element: Element, name: str) -> Iterator[tuple[str, str, Any]]:
    """(name of the group, prompt, ground truth) of every question in a field of groups."""
    groups = element.fields.get(name)
    for group, items in groups.items() if isinstance(groups, Mapping) else ():
        for item in items if isinstance(items, list) else [items]:
            fields = item if isinstance(item, Mapping) else {}
            prompts, truths = fields.get("prompt"), fields.get("ground_truth")
            pairs: list[tuple[Any, Any]] = [(prompts, truths)]
            if isinstance(prompts, list) and isinstance(truths, list):
                pairs = list(zip(prompts, truths, strict=False))
            yield from ((str(group), text, truth) for text, truth in pairs if isinstance(text, str))
