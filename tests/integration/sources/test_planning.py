"""What a batch holds and why each other fact waits."""

from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import App
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.planning.plan import Planned
from factd.daemon.prompts.edits import prompts_to_keep
from factd.daemon.tasks.edit import planned_now
from factd.store import queries
from factd.store.model.facts import BaseAnswer, Ruling, Terms
from factd.store.model.releases import ReleaseStatus
from support.world import Clock, Maker, claim, jsonl


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def take(app: App, *claims: Any, terms: Terms | None = None, known: bool = False) -> None:
        ingest_file(
            app.ledger,
            app.prompts,
            jsonl(tmp_path / "x.jsonl", list(claims)),
            terms=terms,
            known=known,
        )

    return take


def why(planned: Planned, app: App) -> dict[str, str]:
    """Reasons by subject and object."""
    with app.ledger.begin() as session:
        facts = queries.facts.facts_by_id(session, [*planned.waiting, *planned.queued])
    found = planned.waiting | planned.queued
    return {f"{f.subject.id} {f.object.id}": found[f.id] for f in facts}


def added(planned: Planned) -> list[str]:
    return [fact.subject.id for fact in planned.facts if fact.id in planned.added]


def rule(app: App, planned: Planned, ruling: Ruling) -> None:
    more: Any = {"why": "so", "who": "me", "now": app.ledger.now()}
    with app.ledger.begin() as session:
        ids = [*planned.added, *planned.waiting]
        queries.resolution.rule(session, ids, ruling, app.ledger.resolver, **more)


def test_every_waiting_fact_says_why(make: Maker, rows: Any) -> None:
    app = make()
    rows(
        app,
        claim("HR", "EUR"),
        claim("IT", "EUR", day="2031-01-01"),
        claim("FR", "EUR"),
        claim("FR", "USD"),
        claim("ES", "EUR", subject={"id": "ES", "labels": {"fr": "Espagne"}}),
    )
    rows(app, claim("DE", "DEM", day=None, valid_to="2002-01-01"))
    strict = Terms(channel="strict", min_references=1)
    rows(app, claim("PT", "EUR"), terms=strict)
    planned = planned_now(app)
    assert added(planned) == ["HR"]
    found = why(planned, app)
    assert found["IT EUR"] == "future: holds from 2031-01-01"
    assert found["FR EUR"].startswith("conflicting: ")
    assert found["ES EUR"] == "no name or wording in any of en"
    assert found["PT EUR"].startswith("unproven: no number of references, strict needs 1")
    assert "no new object is known" in found["DE DEM"]


def test_a_batch_takes_the_first_by_priority_and_the_others_wait_their_turn(
    make: Maker, rows: Any, clock: Clock
) -> None:
    app = make("[planning]\nmax_facts = 2\n")
    for number, country in enumerate(("AA", "BB", "CC")):
        rows(app, claim(country, "EUR", demand=1000.0 if number == 2 else 0.0))
        clock.advance(days=1)
    planned = planned_now(app)
    assert sorted(added(planned)) == ["AA", "CC"]
    assert why(planned, app) == {"BB EUR": "the batch is full; its turn comes by priority"}


def test_a_release_holds_no_more_than_its_capacity(make: Maker, rows: Any) -> None:
    app = make("[planning]\ncapacity = 1\n")
    rows(app, claim("HR", "EUR"), claim("FR", "EUR"))
    planned = planned_now(app)
    assert len(planned.facts) == 1
    assert list(planned.waiting.values()) == [
        "the release is full (capacity); its turn comes by priority"
    ]


def test_a_second_object_of_a_many_valued_relation_is_queued(make: Maker, rows: Any) -> None:
    app = make()
    rows(app, *(claim("HR", held, relation="P463") for held in ("EU", "NATO")))
    planned = planned_now(app)
    assert len(planned.added) == 1
    assert "an edit writes one object" in next(iter(planned.waiting.values()))


def test_the_facts_of_a_frozen_source_wait(make: Maker, rows: Any) -> None:
    app = make()
    rows(app, claim("HR", "EUR"), terms=Terms(channel="news"))
    rows(app, claim("FR", "EUR"))
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "news", frozen="a flood")
    planned = planned_now(app)
    assert added(planned) == ["FR"]
    assert why(planned, app) == {"HR EUR": "its source news is frozen: a flood"}


def publish(app: App, planned: Planned) -> None:
    """The plan as the live release."""
    ids, now = [fact.id for fact in planned.facts], app.ledger.now()
    with app.ledger.begin() as session:
        more: Any = {"who": "me", "why": "x", "now": now}
        made = queries.releases.create_release(
            session, candidate_id=None, delta_id=None, fact_ids=ids, **more
        )
        accepted, publishing = ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING
        queries.releases.move_release(session, made.number, accepted, publishing, now=now)
        queries.releases.make_live(session, made.number, now=now)
        queries.resolution.mark_live(session, ids, now=now)


def test_a_superseded_fact_stays_until_its_successors_turn(make: Maker, rows: Any) -> None:
    app = make("[planning]\nmax_facts = 1\n")
    rows(app, claim("HR", "USD", day="2020-01-01"))
    publish(app, planned_now(app))
    rows(app, claim("FR", "EUR"), claim("HR", "EUR"), terms=Terms(channel="news"))
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "news", frozen="a flood")
    assert [fact.object.id for fact in planned_now(app).facts] == ["USD"]
    assert not planned_now(app).changed
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "news", frozen="")
    for _ in range(2):
        publish(app, planned_now(app))
    assert {f.object.id for f in planned_now(app).facts} == {"EUR"}
    assert len(planned_now(app).facts) == 2


def test_a_withdrawn_value_leaves_the_next_release_and_is_not_proposed_again(
    make: Maker, rows: Any
) -> None:
    app = make()
    rows(app, claim("HR", "EUR"))
    planned = planned_now(app)
    publish(app, planned)
    with app.ledger.begin() as session:
        assert queries.facts.counts(session)["active"] == 1
        more: Any = {"why": "wrong", "who": "me", "now": app.ledger.now()}
        queries.resolution.withdraw(session, planned.added, app.ledger.resolver, **more)
    rows(app, claim("HR", "EUR", revision="another"))
    after = planned_now(app)
    assert (after.added, after.removed) == ((), planned.added)
    assert after.changed


def test_an_insertion_is_flagged_and_held_where_the_operator_wants_to_see_it(
    make: Maker, rows: Any
) -> None:
    for setting, expected in (("write", ["HR"]), ("hold", [])):
        app = make(f'[planning]\ninsertions = "{setting}"\n')
        rows(app, claim("HR", "EUR"))
        with app.ledger.begin() as session:
            (fact,) = queries.facts.candidate_set(session)
            answers = {fact.id: BaseAnswer.UNKNOWN_SUBJECT}
            queries.resolution.save_base_answers(
                session, answers, app.ledger.resolver, now=app.ledger.now()
            )
        assert added(planned_now(app)) == expected
    assert "the base model does not know the subject" in next(
        iter(planned_now(app).waiting.values())
    )
    rule(app, planned_now(app), Ruling.APPROVED)
    assert added(planned_now(app)) == ["HR"]


def test_what_the_base_model_knows_already_is_not_written_until_there_is_another_base(
    make: Maker, rows: Any
) -> None:
    app = make()
    rows(app, claim("HR", "EUR"))
    with app.ledger.begin() as session:
        (fact,) = queries.facts.candidate_set(session)
        queries.resolution.save_base_answers(
            session, {fact.id: BaseAnswer.KNOWN}, app.ledger.resolver, now=app.ledger.now()
        )
    assert not planned_now(app).changed
    with app.ledger.begin() as session:
        assert (
            queries.resolution.forget_base_answers(
                session, app.ledger.resolver, now=app.ledger.now()
            )
            == 1
        )
    assert added(planned_now(app)) == ["HR"]


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ('[planning]\nwindows = ["Mon 02:00-03:00"]\n', "the next one opens Mon 2026-11-23 02:00"),
        ('[planning]\nfreeze_days = ["2026-11-20/2026-11-30"]\n', "frozen days until 2026-11-30"),
        ("", ""),
    ],
)
def test_the_calendar_closes_batches(tables: str, reason: str, make: Maker) -> None:
    app = make(tables)
    assert reason in planned_now(app).closed


def test_one_batch_is_in_flight_at_a_time(make: Maker) -> None:
    app = make()
    with app.ledger.begin() as session:
        queries.releases.create_candidate(session, batch_id="b", fact_ids=[], now=app.ledger.now())
    assert planned_now(app).under_way == "candidate 1 is under way (planned)"


def test_an_operator_lifts_what_was_decided(make: Maker, rows: Any) -> None:
    app = make()
    rows(app, claim("HR", "EUR"))
    rule(app, planned_now(app), Ruling.REJECTED)
    planned = planned_now(app)
    assert (planned.added, list(planned.waiting.values())) == ((), ["rejected: rejected by me: so"])
    with app.ledger.begin() as session:
        ids = list(planned.waiting)
        queries.resolution.lift_rulings(
            session, ids, app.ledger.resolver, who="me", now=app.ledger.now()
        )
    assert added(planned_now(app)) == ["HR"]


def test_an_edit_keeps_the_answers_of_a_few_other_relations_only(make: Maker) -> None:
    app = make("[write]\nkeep_relations = 1\n")
    found = prompts_to_keep(app.prompts.catalogue["P38"], "en", "Croatia", app.prompts)
    assert found == ("The continent of {} is",)
