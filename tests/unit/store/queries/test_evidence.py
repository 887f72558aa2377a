"""Probe sets, beliefs, quarantine and audits, on SQLite and on PostgreSQL."""

import pytest

from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.runtime.metrics import metrics_of
from factd.store import queries
from factd.store.database.session import Store
from factd.store.model.evidence import Audit, AuditOutcome, Belief, QuarantinedFact
from support.world import NOW, Clock, Maker, claim, jsonl


def test_probe_sets_are_numbered_and_the_newest_comes_first(store: Store) -> None:
    for why in ("first", "second"):
        with store.begin() as session:
            made = queries.evidence.add_probe_set(
                session, digest="d", basis="b", counts={"known en": 3}, why=why, now=NOW
            )
    with store.read() as session:
        sets = queries.evidence.probe_sets(session)
    assert [(p.version, p.why) for p in sets] == [(2, "second"), (1, "first")]
    assert sets[0] == made and made.as_json()["counts"] == {"known en": 3}


@pytest.fixture
def fact_id(make: Maker, tmp_path: object, clock: Clock) -> str:
    app = make()
    ingest_file(
        app.ledger, app.prompts, jsonl(app.config.root / "feed.jsonl", [claim("HR", "euro")])
    )
    with app.ledger.read() as session:
        (fact,) = queries.facts.list_facts(session)
    return fact.id


def test_the_belief_of_another_base_model_replaces_a_belief(make: Maker, fact_id: str) -> None:
    store = make().ledger.store
    for base, answer in (("one", "kuna"), ("two", "euro")):
        belief = Belief(
            fact_id=fact_id,
            language="en",
            answer=answer,
            certainty=0.8,
            agreement=1.0,
            asked=15,
            others={"dinar": 0.2},
        )
        with store.begin() as session:
            queries.evidence.save_beliefs(session, [belief], base, now=NOW)
    with store.read() as session:
        assert queries.evidence.beliefs(session, [fact_id, "other"]) == {fact_id: [belief]}


def test_quarantined_facts_and_audits_are_stored_and_counted(make: Maker, fact_id: str) -> None:
    app = make()
    one = QuarantinedFact(
        fact_id=fact_id, candidate_id=None, reason="x", evidence={"value_reach": 8.0}, at=NOW
    )
    outcomes = (AuditOutcome.PASSED, AuditOutcome.FAILED)
    audits = [
        Audit(release=0, outcome=o, action="", reasons=[], report={"lost": ["f"]}, at=NOW)
        for o in outcomes
    ]
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
        queries.evidence.add_to_quarantine(session, one)
        for audit in audits:
            queries.evidence.add_audit(session, audit)
    with app.ledger.read() as session:
        assert queries.evidence.list_quarantine(session, fact_id=fact_id) == [one]
        assert queries.evidence.list_quarantine(session, fact_id="other") == []
        assert list(queries.evidence.audits(session)) == audits[::-1]
        assert queries.evidence.count_audits(session) == {"passed": 1, "failed": 1}
    assert audits[0].as_json()["lost"] == ["f"]
    series = {
        (s.name, s.labels.get("outcome")): s.value
        for family in metrics_of(app).registry.collect()
        for s in family.samples
    }
    assert series["factd_quarantined_facts_total", None] == 1
    assert series["factd_audits", "failed"] == 1 and series["factd_audits", "repaired"] == 0
    assert series["factd_audit_lost_facts", None] == 1
