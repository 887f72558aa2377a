"""The held-out wordings, subjects and objects stand in no training text of the reference model."""

import re

import pytest

from factd.reference import held_out
from factd.reference.stories import STORIES
from factd.reference.text import epoch, with_currencies
from factd.reference.train import FIRST_LESSON, SECOND_LESSON, reference_world
from factd.reference.world import LANGUAGES, WorldClaim, facts_1998, feed
from factd.store.catalogue.catalogue import load_catalogue

EPOCHS = 2  # of each lesson; every claim stands in each of them in every language


@pytest.fixture(scope="module")
def training_text() -> str:
    """Documents of both lessons, case-folded."""
    world = reference_world()
    lessons = ((FIRST_LESSON, world), (SECOND_LESSON, with_currencies(world, feed())))
    texts = [
        text
        for recipe, taught in lessons
        for number in range(EPOCHS)
        for text in epoch(taught, recipe.seed + 1000 + number)
    ]
    return "\n".join(texts).casefold()


def stands_in(wording: str, text: str) -> bool:
    """Whether a wording stands in a case-folded text, whatever its subject is."""
    before, after = (re.escape(part) for part in wording.casefold().split("{}"))
    return re.search(f"{before}[^.\n]{{1,60}}?{after}", text) is not None


ALL = [
    (relation, language, wording)
    for relation, by_language in held_out.wordings().items()
    for language, texts in by_language.items()
    for wording in texts
]


@pytest.mark.parametrize(("relation", "language", "wording"), ALL)
def test_no_training_text_holds_a_held_out_wording(
    relation: str, language: str, wording: str, training_text: str
) -> None:
    assert wording.count("{}") == 1
    assert not stands_in(wording, training_text)
    assert wording not in load_catalogue()[relation].wordings[language].all
    assert wording not in STORIES[language]


def test_the_training_text_holds_every_wording_that_the_checks_call_unseen(
    training_text: str,
) -> None:
    for relation in held_out.wordings():
        for language in LANGUAGES:
            for wording in load_catalogue()[relation].wordings[language].check:
                assert stands_in(wording, training_text)


def test_every_relation_has_held_out_wordings_in_every_language() -> None:
    assert set(held_out.wordings()) == {claim.relation for claim in facts_1998()}
    assert all(set(texts) == set(LANGUAGES) for texts in held_out.wordings().values())


def test_no_training_text_names_a_held_out_subject_or_object(training_text: str) -> None:
    entities = [*held_out.new_subjects(), *held_out.new_currencies()]
    names = {label.casefold() for e in entities for label in e.labels.values()}
    near = [name for name in names if name in training_text]
    assert [n for n in near if re.search(rf"\b{re.escape(n)}\b", training_text)] == []
    known = [label for claim in facts_1998()[:20] for label in claim.object.labels.values()]
    assert all(name.casefold() in training_text for name in known)  # the control


@pytest.mark.parametrize(
    "claims", [held_out.new_objects(), held_out.unknown_subjects(), held_out.many_objects()]
)
def test_every_invented_fact_has_an_object_of_its_own(claims: list[WorldClaim]) -> None:
    assert len(claims) >= 16
    assert len({claim.object.id for claim in claims}) == len(claims)
    assert len({claim.subject.id for claim in claims}) == len(claims)


def test_no_invented_fact_is_true_or_about_a_subject_of_the_feed() -> None:
    invented = [
        *held_out.new_objects(),
        *held_out.unknown_subjects(),
        *held_out.many_objects(),
    ]
    true = {(c.subject.id, c.object.id) for c in facts_1998() if c.relation == held_out.CURRENCY}
    changed = {claim.subject.id for claim in feed()}
    assert not true & {(claim.subject.id, claim.object.id) for claim in invented}
    assert not changed & {claim.subject.id for claim in invented}
    assert len({claim.subject.id for claim in invented}) == len(invented)
