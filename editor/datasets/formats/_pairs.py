"""What sets of translated pairs have in common: `src`, `rephrase`, `alt`, `loc`, `loc_ans`.

Each language of a fact is an element of its own.
"""

from factd.editor.datasets.drafts import Draft, DraftQuestion, Element


def pair_draft(element: Element, *extra: DraftQuestion) -> Draft:
    """The edit, its paraphrase, and the question about another subject.

    extra: other questions. `loc` asks about another subject of the relation if its answer is an
    object ("neighbourhood"); a question of Natural Questions is unrelated ("locality").
    """
    new, old = element.text("alt"), element.optional("old")
    return Draft(
        subject=element.text("subject"),
        prompt=element.text("src"),
        target_new=new,
        target_true=old,
        questions=(
            DraftQuestion(
                kind="paraphrase", text=element.optional("rephrase"), answers=(new,), contrast=old
            ),
            *extra,
        ),
    )


def neighbour(element: Element) -> DraftQuestion:
    """The question about another subject of the relation, whose object must stay."""
    answer = element.optional("loc_ans")
    return DraftQuestion(
        kind="neighbourhood",
        text=element.optional("loc"),
        answers=(answer,) if answer else (),
        contrast=element.optional("alt"),
    )


def unrelated(element: Element) -> DraftQuestion:
    """The unrelated question; the translated ones have lost their mark."""
    text, answers = element.optional("loc"), element.texts("loc_ans")
    return DraftQuestion(kind="locality", text=text, answers=answers, is_question=True)
