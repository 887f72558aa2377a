"""A hand-over ends with the new version proven, or with the one before; what a server says is compared, never believed."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import HandoverFailed
from daemon.handover import Order, Outcome, Target, hand_over
from daemon.proofs import Proof, Question, Said, compare, dumped, expected, read
from daemon.servers import Completion, Report, Version
from store.errors import Overtaken

PROMPTS = ("The currency of Croatia is the", "La moneda de Croàcia és")


def version(number: int) -> Version:
    return Version(number=number, folder=f"/v/{number}", adapter="", digest=f"{number}" * 64)


def said(text: str, *logprobs: float) -> Said:
    return Said(text=text, logprobs=logprobs)


def question(prompt: str, now: str, before: str = "kuna", base: str = "dinar") -> Question:
    return Question(
        prompt=prompt, language="en", said=said(now), before=said(before), base=said(base)
    )


def target(number: int, text: str) -> Target:
    asked = [(question(prompt, text), said(text, -0.1)) for prompt in PROMPTS]
    return Target(version=version(number), wanted=asked)


NEW, OLD = target(7, "euro"), target(6, "kuna")
SAYS = {NEW.version.name: "euro", OLD.version.name: "kuna"}


@dataclass
class Engine:
    """A server in memory: what it holds, and how it errs."""

    stages: bool = False
    asks: bool = True
    reports: bool = True
    serving: str = OLD.version.name
    staged: list[str] = field(default_factory=list)
    cache: dict[str, str] = field(default_factory=dict)
    keeps_weights: bool = False
    keeps_cache: bool = False
    lies: str = ""  # the version that it names whatever it serves
    fails_at: str = ""  # "stage", "load" or "complete", of the new version
    dies: bool = False  # and never answers again
    done: list[str] = field(default_factory=list)

    def _may(self, what: str, version: Version | None = None) -> None:
        is_new = version is None or version.number == NEW.number
        if (self.fails_at == what and is_new) or (self.dies and "load 7" in self.done):
            self.done.append(f"{what} failed")
            raise HandoverFailed("it answered 500")

    def load(self, version: Version) -> None:
        self.done.append(f"load {version.number}")
        self._may("load", version)
        if not self.keeps_weights or version.number == OLD.number:
            self.serving = version.name
        self.cache = self.cache if self.keeps_cache else {}

    def stage(self, version: Version) -> None:
        self._may("stage", version)
        self.staged.append(version.name)

    def drop(self, version: Version) -> None:
        self.done.append(f"drop {version.number}")

    def report(self) -> Report:
        if not self.reports:
            return Report(serving=None)
        return Report(serving=self.lies or self.serving)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        self._may("complete")
        if staged is not None:
            return Completion(text=SAYS[staged.name] if not self.keeps_weights else "kuna")
        text = self.cache.get(prompt, SAYS.get(self.serving, "?"))
        self.cache[prompt] = text
        return Completion(text=f" {text}, which it has")

    def close(self) -> None:
        """Nothing is open."""


def handed(engine: Engine, *, back: Target | None = OLD) -> Outcome:
    return hand_over(engine, Order(to=NEW, back=back, tolerance=0.3, alive=lambda: None))


@pytest.mark.parametrize("stages", [False, True])
def test_a_server_that_does_as_it_is_told_serves_the_new_version(stages: bool) -> None:
    engine = Engine(stages=stages)
    found = handed(engine)
    assert (found.done, found.asked, found.restored) == (True, 2, None)
    assert engine.serving == NEW.version.name and engine.done == ["load 7", "drop 6"]
    assert bool(engine.staged) == stages


def test_old_weights_are_found_by_what_it_says_even_where_it_says_that_it_serves_the_new_ones() -> (
    None
):
    for reports in (True, False):
        engine = Engine(keeps_weights=True, reports=reports, lies=NEW.version.name)
        found = handed(engine)
        assert (found.done, found.transient) == (False, False)
        assert "2 of 2 answers are not those of release 7" in found.why and "kuna" in found.why
        assert engine.serving == OLD.version.name and "load 6" in engine.done


def test_a_prefix_cache_that_is_not_reset_is_found_for_it_was_warm_before() -> None:
    engine = Engine(keeps_cache=True)
    found = handed(engine)
    assert not found.done and "answers are not those" in found.why
    assert found.restored is True and engine.serving == OLD.version.name


def test_another_version_than_it_was_given_is_found_by_what_it_reports() -> None:
    engine = Engine(lies="factd-5-555555555555", asks=False)
    found = handed(engine)
    assert not found.done and "says that it serves factd-5-555555555555" in found.why
    assert found.restored is False  # it says the same of the version before


def test_where_it_can_stage_a_wrong_version_never_reaches_its_users() -> None:
    engine = Engine(stages=True, keeps_weights=True)
    found = handed(engine)
    assert not found.done and found.restored is None
    assert engine.done == ["drop 7"] and engine.serving == OLD.version.name


@pytest.mark.parametrize(("at", "restored"), [("stage", None), ("load", True), ("complete", None)])
def test_an_error_is_tried_again_later_and_the_version_before_serves(
    at: str, restored: bool | None
) -> None:
    engine = Engine(stages=at == "stage", fails_at=at)
    found = handed(engine)
    assert (found.done, found.transient, found.restored) == (False, True, restored)
    assert engine.serving == OLD.version.name and "500" in found.why


def test_a_server_that_dies_is_not_restored_and_that_is_told() -> None:
    found = handed(Engine(dies=True))
    assert (found.done, found.transient, found.restored) == (False, True, False)
    assert handed(Engine(keeps_weights=True), back=None).restored is False


def test_a_server_that_cannot_be_asked_is_taken_at_its_word() -> None:
    found = handed(Engine(asks=False))
    assert (found.done, found.asked) == (True, 0)


def test_a_hand_over_that_was_taken_over_asks_nothing_more() -> None:
    def overtaken() -> None:
        raise Overtaken("another process hands over now")

    engine = Engine()
    with pytest.raises(Overtaken):
        hand_over(engine, Order(to=NEW, back=OLD, tolerance=0.3, alive=overtaken))
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
    proof = Proof(before=6, questions=(question("x", "euro", before="kuna", base="dinar"),))

    def texts(number: int, own: Proof | None, other: Proof | None) -> list[str]:
        return [one.text for _, one in expected(number, own, other)]

    assert texts(7, proof, None) == ["euro"]
    assert texts(6, None, proof) == ["kuna"]
    assert texts(0, None, proof) == ["dinar"]
    assert texts(5, None, proof) == [] and texts(0, None, None) == []


def test_answers_that_could_be_the_same_do_not_differ() -> None:
    assert said("euro").differs(said("kuna"))
    assert not said("euro").differs(said("euro and cent"))
    assert not said("").differs(said("kuna"))


texts = st.text(max_size=20)
numbers = st.lists(st.floats(min_value=-9, max_value=0), max_size=4)
answers = st.builds(lambda t, n: said(t, *(round(x, 4) for x in n)), texts, numbers)


@given(st.lists(st.tuples(texts, answers, answers, answers), max_size=3), st.integers(0, 99))
def test_a_proof_comes_back_as_it_was_written(
    rows: list[tuple[str, Said, Said, Said]], before: int
) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    questions = tuple(
        Question(prompt=p, language="en", said=a, before=b, base=c) for p, a, b, c in rows
    )
    proof = Proof(before=before, questions=questions)
    with TemporaryDirectory() as folder:
        (Path(folder) / "proof.json").write_bytes(dumped(proof))
        assert read(Path(folder)) == proof
