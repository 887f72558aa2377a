"""Candidates, releases, runs and switches: every status change is a compare-and-swap."""

import threading
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

import factd.migrations
from factd.store import operations, queries
from factd.store.database import migrate
from factd.store.database.session import Store, make_engine
from factd.store.errors import IllegalMove, NotFound, SchemaOutdated, StaleState, StoreError
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from support.world import NOW


def test_release_0_is_the_base_model_and_is_live_at_first(store: Store) -> None:
    with store.begin() as session:
        live = queries.releases.live_release(session)
        assert live is not None
        assert (live.number, live.fact_ids, live.status) == (0, (), ReleaseStatus.LIVE)


def test_a_candidate_moves_only_from_the_status_that_the_caller_expects(store: Store) -> None:
    with store.begin() as session:
        made = queries.releases.create_candidate(session, batch_id="b", fact_ids=["f"], now=NOW)
        planned, solving = CandidateStatus.PLANNED, CandidateStatus.SOLVING
        queries.releases.move_candidate(session, made.id, planned, solving, now=NOW)
        with pytest.raises(StaleState):
            queries.releases.move_candidate(session, made.id, planned, solving, now=NOW)
        with pytest.raises(IllegalMove):
            queries.releases.move_candidate(
                session, made.id, solving, CandidateStatus.ACCEPTED, now=NOW
            )
        assert queries.releases.candidate(session, made.id).status is solving
        assert queries.releases.abandon_unfinished(session, now=NOW) == 1
        assert queries.releases.candidate(session, made.id).reasons == ("abandoned while solving",)


def test_one_release_is_live_at_a_time(store: Store) -> None:
    with store.begin() as session:
        one = queries.releases.create_release(
            session, candidate_id=None, delta_id="d", fact_ids=["f"], who="me", why="test", now=NOW
        )
        queries.releases.move_release(
            session, 1, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING, now=NOW
        )
        queries.releases.make_live(session, one.number, now=NOW)
        statuses = {r.number: r.status.value for r in queries.releases.list_releases(session)}
        assert statuses == {1: "live", 0: "retired"}
        with pytest.raises(NotFound):
            queries.releases.release(session, 7)


def test_a_scheduled_run_is_taken_once(store: Store) -> None:
    with store.begin() as session:
        run = operations.runs.start_run(session, "cycle", NOW, now=NOW)
        assert run is not None
        assert operations.runs.start_run(session, "cycle", NOW, now=NOW) is None
        assert operations.runs.start_run(session, "pull", NOW, now=NOW) is not None
        operations.runs.finish_run(session, run, RunStatus.DONE, "ok", now=NOW)
        with pytest.raises(StaleState):
            operations.runs.finish_run(session, run, RunStatus.DONE, "ok", now=NOW)
        assert operations.runs.last_runs(session)[-1].status is RunStatus.DONE


def test_a_freeze_is_stored_and_logged(store: Store) -> None:
    with store.begin() as session:
        queries.releases.freeze(session, why="night", who="me", now=NOW)
        flag = queries.releases.frozen(session)
        assert flag is not None and flag.why == "night"
        assert queries.releases.unfreeze(session, who="me", now=NOW)
        assert not queries.releases.unfreeze(session, who="me", now=NOW)
        assert [row["what"] for row in queries.releases.audit_log(session)] == [
            "unfreeze",
            "freeze",
        ]


def test_no_update_of_many_writers_is_lost(store: Store) -> None:
    with store.begin() as session:
        session.execute(text("CREATE TABLE counted (n INTEGER)"))
        session.execute(text("INSERT INTO counted VALUES (0)"))

    def count() -> None:
        for _ in range(25):
            with store.begin() as session:
                lock = " FOR UPDATE" if store.engine.dialect.name == "postgresql" else ""
                n = session.execute(text(f"SELECT n FROM counted{lock}")).scalar_one()
                session.execute(text("UPDATE counted SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    with store.begin() as session:
        assert session.execute(text("SELECT n FROM counted")).scalar_one() == 100


def test_a_reader_waits_for_no_writer_and_sees_the_last_committed_state(store: Store) -> None:
    with store.begin() as session:
        queries.releases.freeze(session, why="night", who="me", now=NOW)
        session.flush()
        with store.read() as reader:
            assert queries.releases.frozen(reader) is None
    with store.read() as reader:
        assert queries.releases.frozen(reader) is not None


def test_sqlite_is_opened_with_our_pragmas(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'x.sqlite'}").begin() as session:
        values = [
            session.execute(text(f"PRAGMA {p}")).scalar()
            for p in ("journal_mode", "foreign_keys", "synchronous")
        ]
    assert values == ["wal", 1, 2]


def test_postgresql_means_psycopg() -> None:
    pytest.importorskip("psycopg", exc_type=ImportError)
    assert make_engine("postgresql://user@localhost/x").url.drivername == "postgresql+psycopg"


def test_the_migrations_make_exactly_the_schema_of_the_program(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    with pytest.raises(SchemaOutdated, match="factd db upgrade"):
        migrate.check(url)
    assert migrate.upgrade(url) == migrate.head()
    migrate.check(url)
    assert migrate.differences(url) == []


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    folder = Path(factd.migrations.__file__).parent
    assert migrate.head() == ScriptDirectory(str(folder)).get_current_head()


def test_a_populated_database_is_downgraded_and_upgraded_again(store: Store) -> None:
    with store.begin() as session:
        queries.releases.create_candidate(session, batch_id="b", fact_ids=["f"], now=NOW)
    store.close()
    migrate.downgrade(store.url, "base")
    assert migrate.current(store.url) is None
    migrate.upgrade(store.url)
    assert migrate.differences(store.url) == []


def test_alembic_check_sees_a_lost_table(store: Store) -> None:
    with store.begin() as session:
        session.execute(text("DROP TABLE flags"))
    assert migrate.differences(store.url) != []


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(Exception, match="a time needs its zone"), store.begin() as session:
        operations.runs.start_run(session, "cycle", naive, now=naive)


def test_an_unreachable_database_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "folder.sqlite").mkdir()
    store = Store(f"sqlite:///{tmp_path / 'folder.sqlite'}")
    with pytest.raises(StoreError, match="does not answer") as caught, store.begin() as session:
        queries.releases.live_release(session)
    assert caught.value.transient
