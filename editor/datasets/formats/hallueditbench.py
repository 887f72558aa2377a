"""HalluEditBench (arXiv:2410.16251): CSV files of questions that a model answered wrong.

Left out are yes-no and multiple-choice questions, reversed relations, the locality questions, which
have no answers, and chains of more than two facts.
"""

from collections.abc import Mapping
from typing import Any

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element


def fits(fields: Mapping[str, Any]) -> bool:
    """Whether it has a question, an object and a paraphrased question."""
    return {"subject", "object", "question", "paraphrased_question"} <= set(fields)


def draft(element: Element) -> Draft:
    """The edit and its questions. What another model said is not taken for the old object."""
    new = element.text("object")
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("question"),
        target_new=new,
        relation=element.optional("relation"),
        questions=(
            DraftQuestion(
                kind="paraphrase", text=element.optional("paraphrased_question"), answers=(new,)
            ),
            DraftQuestion(
                kind="portability",
                text=element.optional("question_2hop"),
                answers=element.texts("answer_2hop"),
            ),
        ),
    )
