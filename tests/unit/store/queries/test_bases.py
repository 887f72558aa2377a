"""Bases: which one is in effect, which facts it holds, and what that means for their claims."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from factd.store import queries, views
from factd.store.database.session import Store
from factd.store.errors import BakedIntoBase, IllegalMove, NotFound, StaleState
from factd.store.ingest import ingest as ingestion
from factd.store.ingest.ingest import IngestReport
from factd.store.ingest.parsing import read_updates
from factd.store.model.bases import BASE_MOVES, Base, BaseStatus
from factd.store.model.facts import Receipt
from factd.store.model.releases import Release, ReleaseStatus
from factd.store.queries.resolution import ConflictResolver
from support.world import NOW, claim, jsonl

KUNA, EURO = claim("HR", "HRK", day=None), claim("HR", "EUR")
BACK = claim("HR", "EUR", revision="back", event_time="2024-01-01T00:00:00Z", withdrawn=True)


class Ledger:
    """A database with claims, and with releases that are made and baked without a model."""

    def __init__(self, store: Store, resolver: ConflictResolver, folder: Path) -> None:
        self.store, self.resolver, self.folder = store, resolver, folder

    def ingest(self, *rows: dict[str, Any], known: bool = False) -> IngestReport:
        path = jsonl(self.folder / "x.jsonl", list(rows))
        receipt = Receipt(file=path.name, retrieved_at=NOW)
        with self.store.begin() as session:
            lines = read_updates(path, self.resolver.catalogue)
            return ingestion.ingest(
                session, lines, self.resolver, receipt=receipt, now=NOW, known=known
            )

    def write(self) -> Release:
        """A live release of all facts that edits write, on the base in effect."""
        with self.store.begin() as session:
            made = queries.releases.create_candidate(session, batch_id="b", fact_ids=[], now=NOW)
            ids = [fact.id for fact in queries.facts.candidate_set(session)]
            base = queries.bases.in_effect(session)
            return self._publish(session, made.id, ids, base)

    def rebase(self) -> Base:
        """Bake the live release into a new base and publish that base."""
        with self.store.begin() as session:
            live = queries.releases.live_release(session)
            assert live is not None
            base = queries.bases.add_base(
                session, live, parent_fingerprint="p", who="me", why="room", now=NOW
            )
            preparing, verified = BaseStatus.PREPARING, BaseStatus.VERIFIED
            queries.bases.move_base(session, base.number, preparing, verified, now=NOW)
            self._publish(session, None, (), base.number)
            return queries.bases.base(session, base.number)

    def roll_back_to(self, number: int) -> None:
        with self.store.begin() as session:
            release = queries.releases.release(session, number)
            before, after = release.status, ReleaseStatus.PUBLISHING
            queries.releases.move_release(session, number, before, after, now=NOW)
            self._make_live(session, release)

    def _publish(
        self, session: Session, made: int | None, ids: Sequence[str], base: int
    ) -> Release:
        release = queries.releases.create_release(
            session,
            candidate_id=made,
            delta_id="d",
            fact_ids=ids,
            who="me",
            why="test",
            now=NOW,
            base=base,
        )
        out = (ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
        queries.releases.move_release(session, release.number, *out, now=NOW)
        self._make_live(session, release)
        return release

    def _make_live(self, session: Session, release: Release) -> None:
        """Make a release live as publishing does, without files."""
        queries.releases.make_live(session, release.number, now=NOW)
        if queries.bases.activate(session, release.base, now=NOW):
            queries.resolution.mark_baked(session, release.base, self.resolver, now=NOW)
        queries.resolution.mark_live(session, release.fact_ids, now=NOW)

    def states(self) -> dict[str, tuple[str, int | None]]:
        """Object -> (status of its claim, base that it was baked into)."""
        with self.store.read() as session:
            facts = queries.facts.list_facts(session)
        return {f.object.id: (f.status.value, f.baked_in) for f in facts if not f.update.withdrawn}

    def base_says_instead_of(self, held: str) -> str | None:
        """The object that the base model holds instead of an object."""
        with self.store.read() as session:
            (fact,) = [f for f in queries.facts.list_facts(session) if f.object.id == held]
            counterparts = queries.facts.base_counterparts(session, [fact])
        return counterparts[fact.id].object.id if counterparts else None


@pytest.fixture
def ledger(store: Store, resolver: ConflictResolver, tmp_path: Path) -> Ledger:
    ledger = Ledger(store, resolver, tmp_path)
    ledger.ingest(KUNA, known=True)
    ledger.ingest(EURO)
    return ledger


def test_a_baked_fact_is_held_by_the_base_until_that_is_undone(ledger: Ledger) -> None:
    assert ledger.states() == {"HRK": ("superseded", None), "EUR": ("pending", None)}
    ledger.write()
    assert ledger.states()["EUR"] == ("active", None)
    base = ledger.rebase()
    assert (base.number, base.parent, base.release, base.status) == (1, 0, 1, BaseStatus.ACTIVE)
    assert ledger.states() == {"HRK": ("superseded", None), "EUR": ("known", 1)}
    ledger.roll_back_to(1)
    assert ledger.states()["EUR"] == ("active", None)
    ledger.roll_back_to(0)
    assert ledger.states()["EUR"] == ("pending", None)
    ledger.roll_back_to(2)
    assert ledger.states()["EUR"] == ("known", 1)


def test_a_newer_claim_is_written_over_what_was_baked(ledger: Ledger) -> None:
    ledger.write()
    assert ledger.base_says_instead_of("EUR") == "HRK"
    ledger.rebase()
    ledger.ingest(claim("HR", "USD", day="2024-01-01"))
    assert ledger.states()["USD"] == ("pending", None)
    assert ledger.base_says_instead_of("USD") == "EUR"
    ledger.write()
    ledger.rebase()
    assert ledger.states() == {
        "HRK": ("superseded", None),
        "EUR": ("superseded", 1),
        "USD": ("known", 2),
    }
    ledger.roll_back_to(1)
    assert ledger.states()["EUR"] == ("superseded", None)
    assert ledger.states()["USD"] == ("pending", None)


def test_a_baked_fact_that_its_source_takes_back_stays_in_the_base_and_the_value_before_is_written(
    ledger: Ledger, store: Store
) -> None:
    ledger.write()
    ledger.rebase()
    assert len(ledger.ingest(BACK).still_baked) == 1
    assert ledger.states() == {"HRK": ("pending", None), "EUR": ("withdrawn", 1)}
    assert ledger.base_says_instead_of("HRK") == "EUR"
    with store.read() as session:
        assert views.snapshots.still_baked(session) == ()
    ledger.write()
    ledger.rebase()
    assert ledger.states() == {"HRK": ("known", 2), "EUR": ("withdrawn", 1)}


def test_a_withdrawn_baked_fact_is_reported_until_another_value_replaces_it(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    ledger = Ledger(store, resolver, tmp_path)
    ledger.ingest(EURO)
    ledger.write()
    ledger.rebase()
    (fact,) = ledger.ingest(BACK).still_baked
    with store.read() as session:
        assert views.snapshots.still_baked(session) == (fact,)
        assert "its weights stay in base 1" in queries.facts.get_fact(session, fact).reason
    ledger.ingest(claim("HR", "USD", day="2024-01-01"))
    with store.read() as session:
        assert views.snapshots.still_baked(session) == ()


def test_a_baked_fact_cannot_be_withdrawn(ledger: Ledger, store: Store) -> None:
    ledger.write()
    with store.read() as session:
        (fact,) = [f.id for f in queries.facts.list_facts(session) if f.object.id == "EUR"]
    ledger.rebase()
    with pytest.raises(BakedIntoBase, match=f"fact {fact} is baked into base 1 .*rebase --undo"):  # noqa: SIM117
        with store.begin() as session:
            queries.resolution.withdraw(
                session, [fact], ledger.resolver, why="wrong", who="me", now=NOW
            )
    ledger.roll_back_to(1)
    with store.begin() as session:
        queries.resolution.withdraw(
            session, [fact], ledger.resolver, why="wrong", who="me", now=NOW
        )
    assert ledger.states() == {"HRK": ("known", None), "EUR": ("withdrawn", None)}


def test_after_its_parent_was_pruned_a_baked_fact_can_only_be_replaced(
    ledger: Ledger, store: Store
) -> None:
    ledger.write()
    ledger.rebase()
    ledger.ingest(claim("HR", "USD", day="2024-01-01"))
    ledger.write()
    ledger.rebase()
    active = (BaseStatus.ACTIVE, BaseStatus.RETIRED, BaseStatus.PRUNED)
    with store.begin() as session:
        (fact,) = [f.id for f in queries.facts.list_facts(session) if f.object.id == "USD"]
        assert queries.bases.base(session, 1).status is BaseStatus.RETIRED
        queries.bases.move_base(session, 1, *active[1:], now=NOW)
        with pytest.raises(
            BakedIntoBase, match="the base before it was pruned; ingest the right value"
        ):
            queries.resolution.withdraw(session, [fact], ledger.resolver, why="", who="me", now=NOW)


def test_several_values_of_one_subject_are_each_baked(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    ledger = Ledger(store, resolver, tmp_path)
    many = next(r.id for r in resolver.catalogue.values() if r.many)
    ledger.ingest(claim("HR", "hr", day=None, relation=many), known=True)
    ledger.ingest(claim("HR", "it", relation=many))
    ledger.write()
    ledger.rebase()
    assert ledger.states() == {"hr": ("known", None), "it": ("known", 1)}


def test_a_release_carries_what_its_base_was_baked_with(ledger: Ledger, store: Store) -> None:
    one = ledger.write()
    ledger.rebase()
    with store.read() as session:
        two = queries.releases.release(session, 2)
        assert two.fact_ids == ()
        assert queries.bases.facts_in_weights(session, two) == set(one.fact_ids)
        assert queries.bases.release_of_base(session, 1) == 2
        assert queries.bases.base_of_releases(session, [0, 1, 2]) == {0: 0, 1: 0, 2: 1}
        with pytest.raises(NotFound, match="factd bases list"):
            queries.bases.base(session, 7)


def test_a_base_moves_only_as_the_table_says(ledger: Ledger, store: Store) -> None:
    ledger.write()
    ledger.rebase()
    with store.begin() as session:
        retired, pruned = BaseStatus.RETIRED, BaseStatus.PRUNED
        with pytest.raises(StaleState, match="base 1 is no longer retired"):
            queries.bases.move_base(session, 1, retired, pruned, now=NOW)
        with pytest.raises(IllegalMove, match="active cannot become pruned; it can become retired"):
            queries.bases.move_base(session, 1, BaseStatus.ACTIVE, pruned, now=NOW)
    assert set(BASE_MOVES) == set(BaseStatus)
