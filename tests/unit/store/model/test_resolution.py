"""Conflict resolution: configured rules, verdicts, withdrawals by the source, soaking, proof."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factd.store.model.facts import (
    BaseAnswer,
    Change,
    Entity,
    Fact,
    FactStatus,
    FactUpdate,
    Provenance,
    Receipt,
    Ruling,
    Terms,
    Verdict,
    write_order,
)
from factd.store.model.resolution import RULES, Resolution, Rules, resolve

EXAMPLES = 300
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def claim(
    held: str,
    since: str | None = None,
    *,
    source: str = "a",
    day: int = 1,
    known: bool = False,
    until: str | None = None,
    status: FactStatus = FactStatus.SUPERSEDED,
    answer: BaseAnswer = BaseAnswer.NOT_ASKED,
    how: Provenance | None = None,
    **more: Any,
) -> Fact:
    update = FactUpdate(
        source=source,
        revision=f"r{day}",
        event_time=datetime(2020, 1, day, tzinfo=UTC),
        subject=Entity(id="HR", labels={"en": "Croatia"}),
        relation="P38",
        object=Entity(id=held, labels={"en": held}),
        valid_from=date.fromisoformat(since) if since else None,
        valid_to=date.fromisoformat(until) if until else None,
        **more,
    )
    return Fact(
        id=update.id,
        update=update,
        status=status,
        observed_at=NOW,
        known=known,
        reason="",
        provenance=how or Provenance(),
        base_answer=answer,
    )


def resolved(*facts: Fact, now: datetime = NOW, **more: Any) -> list[Resolution]:
    resolutions = resolve(facts, now, **more)
    return [resolutions[fact.id] for fact in facts]


def statuses(*facts: Fact, **more: Any) -> list[str]:
    return [resolution.status.value for resolution in resolved(*facts, **more)]


def trusted(trust: int) -> Provenance:
    return Provenance(trust=trust)


def test_the_more_trusted_source_wins_and_the_losing_claim_says_what_it_lost_to() -> None:
    high = claim("EUR", "2023-01-01", source="a", how=trusted(90))
    low = claim("USD", "2023-01-01", source="b", day=9, how=trusted(20))
    won, lost = resolved(high, low)
    assert (won.status, lost.status) == (FactStatus.PENDING, FactStatus.SUPERSEDED)
    assert lost.reason == f"superseded by {high.id} (EUR), by trust"


def test_the_configured_order_of_rules_decides() -> None:
    old = claim("EUR", "2020-01-01", source="a", how=trusted(90))
    new = claim("USD", "2023-01-01", source="b", how=trusted(20))
    assert statuses(old, new) == ["superseded", "pending"]
    assert statuses(old, new, rules=Rules(order=("trust", "validity"))) == ["pending", "superseded"]


def test_two_sources_outweigh_one_but_three_do_not_outweigh_two() -> None:
    one = claim("USD", "2023-01-01", source="a", day=9)
    two = [claim("EUR", "2023-01-01", source=s) for s in ("b", "c")]
    assert statuses(one, *two)[0] == "superseded"
    rules = Rules(order=("corroboration",))
    two_more = [claim("USD", "2023-01-01", source=s, day=9) for s in ("d", "e")]
    assert set(statuses(one, *two, *two_more, rules=rules)) == {"conflicting"}


def test_of_equal_sources_the_latest_claim_counts() -> None:
    first, last = (
        claim("EUR", "2023-01-01", source="a"),
        claim("USD", "2023-01-01", source="b", day=2),
    )
    assert statuses(first, last) == ["superseded", "pending"]


def test_a_source_corrects_itself() -> None:
    wrong = claim("USD", "2023-01-01", how=trusted(90))
    right = claim("EUR", "2023-01-01", day=2, how=trusted(10))
    results = resolved(wrong, right)
    assert [s.status.value for s in results] == ["superseded", "pending"]
    assert results[0].reason == "a said otherwise later"


def test_a_later_claim_that_agrees_does_not_replace_the_written_fact() -> None:
    written = claim("EUR", "2023-01-01", source="a", status=FactStatus.ACTIVE)
    later = claim("EUR", "2023-01-01", source="b", day=9)
    results = resolved(written, later)
    assert [s.status.value for s in results] == ["active", "superseded"]
    assert results[1].reason == f"agrees with {written.id}"


def test_a_pinned_value_holds_whatever_else_is_claimed() -> None:
    pin = Verdict(ruling=Ruling.PINNED, why="checked", who="me", at=NOW)
    old, new = (
        claim("EUR", "2020-01-01"),
        claim("USD", "2024-01-01", source="b", how=trusted(100)),
    )
    results = resolved(old, new, verdicts={"EUR": pin})
    assert [s.status.value for s in results] == ["pending", "superseded"]
    assert results[1].reason.endswith("by an operator's pin")


def test_a_rejected_value_is_not_proposed_again_by_a_new_revision() -> None:
    no = Verdict(ruling=Ruling.REJECTED, why="the gate", who="factd", at=NOW)
    known = claim("HRK", known=True)
    again = [claim("EUR", "2023-01-01", day=day, source=s) for day, s in ((1, "a"), (9, "b"))]
    assert statuses(known, *again, verdicts={"EUR": no}) == ["known", "rejected", "rejected"]


def test_a_claim_that_its_source_takes_back_is_withdrawn_and_the_superseded_one_holds() -> None:
    known, wrong = claim("HRK", known=True), claim("USD", "2023-01-01", status=FactStatus.ACTIVE)
    back = claim("USD", day=5, withdrawn=True)
    results = resolved(known, wrong, back)
    assert [s.status.value for s in results] == ["known", "withdrawn", "notice"]
    assert results[1].reason == "withdrawn by a in revision r5"


def test_a_source_takes_back_only_its_own_claims_and_may_repeat_them_later() -> None:
    other = claim("USD", "2023-01-01", source="b")
    again = claim("USD", "2023-01-01", day=7)
    back = claim("USD", day=5, withdrawn=True)
    assert statuses(other, back) == ["pending", "notice"]
    assert statuses(back, again) == ["notice", "pending"]


def test_a_notice_must_soak_if_the_claim_already_counted() -> None:
    day = timedelta(days=1)
    counted = claim("EUR", "2023-01-01", how=Provenance(soak_until=NOW - 9 * day))
    at = NOW - timedelta(hours=1)
    back = claim("EUR", withdrawn=True, how=Provenance(soak_until=at + day))
    back = replace(back, update=replace(back.update, event_time=at))
    assert statuses(counted, back) == ["pending", "notice"]
    assert statuses(counted, back, now=NOW + day) == ["withdrawn", "notice"]
    fresh = replace(counted, provenance=Provenance(soak_until=NOW + timedelta(hours=5)))
    assert statuses(fresh, back) == ["withdrawn", "notice"]


def test_a_claim_soaks_on_its_sources_clock_and_then_counts() -> None:
    soaking = claim("EUR", "2023-01-01", how=Provenance(soak_until=NOW + timedelta(hours=1)))
    (result,) = resolved(soaking)
    assert (result.status, result.due_at) == (FactStatus.SOAKING, NOW + timedelta(hours=1))
    assert statuses(soaking, now=NOW + timedelta(hours=1)) == ["pending"]


def test_a_claim_that_lacks_references_waits_for_an_approval() -> None:
    terms = Terms(channel="w", min_references=1, max_risk=0.5)
    for more, reason in (
        ({"references": 0}, "0 references"),
        ({}, "no number of references"),
        ({"references": 3, "risk": 0.9}, "revert risk 0.90"),
    ):
        unproven = claim("EUR", "2023-01-01", **more)
        receipt = Receipt(file="x", retrieved_at=NOW)
        held = replace(unproven, provenance=Provenance.of(unproven.update, 1, terms, receipt))
        (result,) = resolved(held)
        assert result.status is FactStatus.UNPROVEN
        assert result.reason.startswith(reason)
        yes = Verdict(ruling=Ruling.APPROVED, why="read it", who="me", at=NOW)
        assert statuses(held, verdicts={"EUR": yes}) == ["pending"]


def test_a_claim_that_needs_a_second_source_waits_for_it() -> None:
    first = claim("EUR", "2023-01-01", how=Provenance(needs_sources=2))
    assert resolved(first)[0].reason == "1 of 2 sources say so"
    second = claim("EUR", "2023-01-01", source="b", how=Provenance(needs_sources=2))
    assert sorted(statuses(first, second)) == ["pending", "superseded"]


def test_a_change_is_a_replacement_an_association_or_archival() -> None:
    known, new = claim("HRK", known=True), claim("EUR", "2023-01-01")
    assert resolved(known, new)[1].change is Change.REPLACEMENT
    assert resolved(new)[0].change is Change.ASSOCIATION
    assert resolved(known)[0].change is Change.NONE
    ended = resolved(claim("HRK", known=True, until="2023-01-01"))[0]
    assert (ended.status, ended.change) == (FactStatus.EXPIRED, Change.ARCHIVAL)
    assert "no new object is known" in ended.reason


def test_a_fact_that_the_base_model_answers_already_is_not_written() -> None:
    (result,) = resolved(claim("EUR", "2023-01-01", answer=BaseAnswer.KNOWN))
    assert (result.status, result.reason) == (FactStatus.KNOWN, "the base model says so already")


def test_older_preferred_and_demanded_facts_are_written_first() -> None:
    def at(days: float = 0, priority: float = 0, demand: float = 0) -> float:
        update = claim("EUR", demand=demand).update
        return write_order(update, Terms(priority=priority), NOW + timedelta(days=days))

    assert at(days=-1) < at() < at(days=1)
    assert at(priority=5) < at(days=-4)
    assert at(demand=1000) < at(demand=10) < at()


days = st.sampled_from([None, "1994-05-30", "2023-01-01", "2030-01-01"])
claims = st.builds(
    claim,
    st.sampled_from(["HRK", "EUR", "USD"]),
    days,
    source=st.sampled_from(["a", "b", "c"]),
    day=st.integers(1, 4),
    known=st.booleans(),
    withdrawn=st.booleans(),
    until=st.sampled_from([None, "2031-01-01", "2025-01-01"]).filter(lambda _: True),
    how=st.builds(
        Provenance,
        trust=st.sampled_from([10, 50]),
        needs_sources=st.sampled_from([1, 2]),
        hold=st.sampled_from(["", "0 references"]),
        soak_until=st.sampled_from([None, NOW - timedelta(1), NOW + timedelta(1)]),
    ),
)
rulings = st.dictionaries(
    st.sampled_from(["HRK", "EUR", "USD"]),
    st.builds(
        Verdict, ruling=st.sampled_from(Ruling), why=st.just("w"), who=st.just("m"), at=st.just(NOW)
    ),
    max_size=2,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    facts=st.lists(claims, max_size=8, unique_by=lambda fact: fact.id),
    verdicts=rulings,
    order=st.permutations(RULES),
    many=st.booleans(),
    seed=st.randoms(),
)
def test_the_order_of_the_claims_does_not_change_the_resolutions(
    facts: list[Fact], verdicts: dict[str, Verdict], order: list[str], many: bool, seed: Any
) -> None:
    shuffled = list(facts)
    seed.shuffle(shuffled)
    rules = Rules(order=tuple(order))
    resolutions = resolve(facts, NOW, many=many, verdicts=verdicts, rules=rules)
    assert resolutions == resolve(shuffled, NOW, many=many, verdicts=verdicts, rules=rules)
    assert set(resolutions) == {fact.id for fact in facts}
    current = [f for f in facts if resolutions[f.id].status in ("known", "pending", "active")]
    values = {fact.object.id for fact in current}
    assert len(current) == len(values)
    assert many or len(values) <= 1
    assert all(s.due_at is None or s.due_at > NOW for s in resolutions.values())
