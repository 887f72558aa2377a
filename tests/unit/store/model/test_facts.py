"""Conflict resolution depends on the claims and the day, not on the order of the claims."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from factd.store.errors import IllegalMove
from factd.store.model.facts import Entity, Fact, FactStatus, FactUpdate, Ruling, Verdict
from factd.store.model.releases import RELEASE_MOVES, ReleaseStatus, check_move
from factd.store.model.resolution import resolve

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def fact(
    held: str,
    since: str | None,
    *,
    known: bool = False,
    until: str | None = None,
    revision: str = "1",
) -> Fact:
    day = date.fromisoformat(since) if since else None
    update = FactUpdate(
        source="test",
        revision=revision,
        event_time=datetime(2020, 1, 1, tzinfo=UTC),
        subject=Entity(id="HR", labels={"en": "Croatia"}),
        relation="P38",
        object=Entity(id=held, labels={"en": held}),
        valid_from=day,
        valid_to=date.fromisoformat(until) if until else None,
    )
    status = FactStatus.SUPERSEDED
    return Fact(
        id=update.id,
        update=update,
        status=status,
        observed_at=update.event_time,
        known=known,
        reason="",
    )


def status(*facts: Fact, many: bool = False, **verdicts: Ruling) -> list[str]:
    rulings = {k: Verdict(ruling=v, why="so", who="me", at=NOW) for k, v in verdicts.items()}
    resolutions = resolve(facts, NOW, many=many, verdicts=rulings)
    assert resolutions == resolve(reversed(facts), NOW, many=many, verdicts=rulings)
    return [resolutions[f.id].status.value for f in facts]


def test_the_claim_with_the_newest_start_of_validity_holds() -> None:
    assert status(fact("HRK", None, known=True), fact("EUR", "2023-01-01")) == [
        "superseded",
        "pending",
    ]


def test_a_fact_of_the_base_model_is_known_while_no_newer_claim_exists() -> None:
    assert status(fact("HRK", None, known=True)) == ["known"]


def test_a_newer_claim_of_a_fact_of_the_base_model_is_not_written() -> None:
    assert status(fact("HRK", None, known=True), fact("HRK", "2023-01-01")) == [
        "superseded",
        "known",
    ]


def test_a_future_fact_waits_for_its_day() -> None:
    assert status(fact("HRK", None, known=True), fact("EUR", "2030-01-01")) == ["known", "future"]


def test_after_a_fact_expires_the_one_before_holds() -> None:
    assert status(fact("HRK", None, known=True), fact("EUR", "2023-01-01", until="2024-01-01")) == [
        "known",
        "expired",
    ]


def test_of_two_contradicting_claims_neither_is_written_and_the_older_fact_holds() -> None:
    known, euro, dollar = (
        fact("HRK", None, known=True),
        fact("EUR", "2023-01-01"),
        fact("USD", "2023-01-01"),
    )
    assert status(known, euro, dollar) == ["known", "conflicting", "conflicting"]


def test_two_sources_that_agree_do_not_contradict_each_other() -> None:
    one, two = fact("EUR", "2023-01-01"), fact("EUR", "2023-01-01", revision="2")
    assert sorted(status(one, two)) == ["pending", "superseded"]


def test_a_withdrawn_fact_stays_withdrawn_and_its_predecessor_holds() -> None:
    euro = fact("EUR", "2023-01-01")
    assert status(fact("HRK", None, known=True), euro, EUR=Ruling.WITHDRAWN) == [
        "known",
        "withdrawn",
    ]


def test_a_relation_with_many_objects_keeps_all_of_them() -> None:
    assert status(fact("EUR", "2023-01-01"), fact("USD", "2023-01-01"), many=True) == [
        "pending",
        "pending",
    ]


def test_an_active_fact_stays_active() -> None:
    assert status(replace(fact("EUR", "2023-01-01"), status=FactStatus.ACTIVE)) == ["active"]


def test_only_legal_moves_are_made() -> None:
    check_move(RELEASE_MOVES, ReleaseStatus.LIVE, ReleaseStatus.RETIRED)
    with pytest.raises(IllegalMove, match="accepted cannot become live"):
        check_move(RELEASE_MOVES, ReleaseStatus.ACCEPTED, ReleaseStatus.LIVE)
