"""A hand-over ends with the new version proven, or with the previous version.

factd compares what a server says and never believes it.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factd.daemon.artefacts.proof import (
    CertainAnswer,
    Proof,
    Question,
    compare,
    dumped,
    expected_answers,
    read,
)
from factd.daemon.editing.proof_questions import most_telling
from factd.daemon.rollout.handover import HandoverOrder, HandoverOutcome, Target, hand_over
from factd.daemon.servers import Completion, Version
from factd.store.errors import Overtaken
from support.fakes.servers import PROMPTS, Engine, question, said, text_of


def version(number: int) -> Version:
    return Version(number=number, folder=f"/v/{number}", adapter="", digest=f"{number}" * 64)


def target(number: int) -> Target:
    text = text_of(number)
    asked = [(question(prompt, text), said(text, -0.1)) for prompt in PROMPTS]
    return Target(version=version(number), expected=asked)


NEW, OLD = target(7), target(6)
KEEPS = frozenset({7})


def engine_with(**how: Any) -> Engine:
    return Engine(serving=OLD.version.name, **how)


def handed(engine: Engine, *, back: Target | None = OLD) -> HandoverOutcome:
    return hand_over(engine, HandoverOrder(to=NEW, back=back, tolerance=0.3, alive=lambda: None))


@pytest.mark.parametrize("stages", [False, True])
def test_a_server_that_does_as_it_is_told_serves_the_new_version(stages: bool) -> None:
    engine = engine_with(stages=stages)
    found = handed(engine)
    assert (found.done, found.asked, found.restored) == (True, 2, None)
    assert engine.serving == NEW.version.name and engine.done == ["load 7", "drop 6"]
    assert bool(engine.staged) == stages


def test_old_weights_are_found_by_what_it_says_even_where_it_says_that_it_serves_the_new_ones() -> (
    None
):
    for reports in (True, False):
        engine = engine_with(keeps_weights=KEEPS, reports=reports, lies=NEW.version.name)
        found = handed(engine)
        assert (found.done, found.transient) == (False, False)
        assert "2 of 2 answers are not those of release 7" in found.why and "answer 6" in found.why
        assert engine.serving == OLD.version.name and "load 6" in engine.done


def test_a_prefix_cache_that_is_not_reset_is_found_for_it_was_warm_before() -> None:
    engine = engine_with(keeps_cache=True)
    found = handed(engine)
    assert not found.done and "answers are not those" in found.why
    assert found.restored is True and engine.serving == OLD.version.name


def test_another_version_than_it_was_given_is_found_by_what_it_reports() -> None:
    engine = engine_with(lies="factd-5-555555555555", asks=False)
    found = handed(engine)
    assert not found.done and "reports that it serves factd-5-555555555555" in found.why
    assert found.restored is False  # it says the same of the version before


def test_where_it_can_stage_a_wrong_version_never_reaches_its_users() -> None:
    engine = engine_with(stages=True, keeps_weights=KEEPS)
    found = handed(engine)
    assert not found.done and found.restored is None
    assert engine.done == ["drop 7"] and engine.serving == OLD.version.name


@pytest.mark.parametrize(
    ("at", "restored"), [("report", None), ("stage 7", None), ("load 7", True), ("complete", False)]
)
def test_an_error_is_tried_again_later_and_the_version_before_serves(
    at: str, restored: bool | None
) -> None:
    engine = engine_with(stages=at == "stage 7", fails=frozenset({at}))
    found = handed(engine)
    assert (found.done, found.transient, found.restored) == (False, True, restored)
    assert engine.serving == OLD.version.name and "500" in found.why


def test_one_that_has_nothing_under_the_users_name_yet_is_given_it() -> None:
    class Fresh(Engine):
        def complete(self, prompt: str, **how: Any) -> Completion:
            self._may("complete" if "load 7" in self.done else "early")
            return super().complete(prompt, **how)

    assert handed(Fresh(fails=frozenset({"early"}))).done


def test_a_server_that_dies_is_not_restored_and_that_is_told() -> None:
    found = handed(engine_with(dies_of=7))
    assert (found.done, found.transient, found.restored) == (False, True, False)
    assert handed(engine_with(keeps_weights=KEEPS), back=None).restored is False


def test_a_server_that_cannot_be_asked_is_taken_at_its_word() -> None:
    found = handed(engine_with(asks=False))
    assert (found.done, found.asked) == (True, 0)


def test_a_hand_over_that_was_taken_over_asks_nothing_more() -> None:
    def overtaken() -> None:
        raise Overtaken("another process hands over now")

    engine = engine_with()
    with pytest.raises(Overtaken):
        hand_over(engine, HandoverOrder(to=NEW, back=OLD, tolerance=0.3, alive=overtaken))
    assert engine.done == []


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        (Completion(text=" euro"), True),
        (Completion(text="euro. And"), True),
        (Completion(text="kuna"), False),
        (Completion(text=""), False),
        (Completion(text="euro", logprobs=(-0.3,)), True),
        (Completion(text="euro", logprobs=(-0.9,)), False),
        (Completion(text="euro", logprobs=(float("nan"),)), False),
    ],
)
def test_an_answer_fits_by_its_text_and_its_probabilities(answer: Completion, fits: bool) -> None:
    wanted = [(question("x", "euro"), said("euro", -0.2))]
    assert compare(wanted, [answer], tolerance=0.3).fits == fits


def test_nothing_asked_is_nothing_proven() -> None:
    assert not compare([], [], tolerance=0.3).fits


def test_a_release_is_known_by_its_own_proof_or_by_one_that_was_made_beside_it() -> None:
    proof = Proof(before=6, base=0, questions=(question("x", "euro", before="kuna", base="dinar"),))

    def texts(number: int, own: Proof | None, other: Proof | None) -> list[str]:
        return [one.text for _, one in expected_answers(number, own, other)]

    assert texts(7, proof, None) == ["euro"]
    assert texts(6, None, proof) == ["kuna"]
    assert texts(0, None, proof) == ["dinar"]
    assert texts(5, None, proof) == [] and texts(0, None, None) == []


def test_questions_that_tell_come_first_and_of_every_language_some() -> None:
    def asked(language: str, far: float, tells: bool) -> Question:
        one = question(f"{language} {far}", "euro")
        return replace(one, language=language, answer=said("euro", -far), is_telling=tells)

    pool = [asked("en", far, True) for far in (9, 8, 7)] + [asked("ca", 1, True)]
    pool += [asked("es", 9, False)]
    found = most_telling(pool, 4)
    assert [(q.language, q.is_telling) for q in found] == [
        ("en", True),
        ("ca", True),
        ("en", True),
        ("en", True),
    ]
    assert [q.prompt for q in most_telling(pool, 9)][-1] == "es 9"


texts = st.text(max_size=20)
numbers = st.lists(st.floats(min_value=-9, max_value=0), max_size=4)
answers = st.builds(lambda t, n: said(t, *(round(x, 4) for x in n)), texts, numbers)


@given(
    st.lists(st.tuples(texts, answers, answers, answers, st.booleans()), max_size=3),
    st.integers(0, 99),
)
def test_a_proof_comes_back_as_it_was_written(
    rows: list[tuple[str, CertainAnswer, CertainAnswer, CertainAnswer, bool]], before: int
) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    questions = tuple(
        Question(prompt=p, language="en", answer=a, answer_before=b, answer_of_base=c, is_telling=d)
        for p, a, b, c, d in rows
    )
    proof = Proof(before=before, base=0, questions=questions)
    with TemporaryDirectory() as folder:
        (Path(folder) / "proof.json").write_bytes(dumped(proof))
        assert read(Path(folder)) == proof
