"""Facts are found by the start of a name, by id, status, relation and source, a bounded part at a time, on both databases."""

import pytest

from factd.daemon.app import App
from factd.daemon.ingestion.pull import ingest_file
from factd.store import queries, views
from factd.store.model.facts import FactStatus
from factd.store.model.releases import ReleaseStatus
from factd.store.queries.fact_search import FactFilter, search
from support.world import NOW, Maker, claim, jsonl

COUNTRIES = {"HR": "Croàcia", "HU": "Hungary", "FR": "France", "DE": "Germany"}


@pytest.fixture
def app(make: Maker) -> App:
    found = make()
    rows = [
        claim(id_, "EUR", subject={"id": id_, "labels": {"en": name, "ca": f"{name} % _"}})
        for id_, name in COUNTRIES.items()
    ]
    rows += [claim("FR", "FRF", day="1999-01-01", subject=rows[2]["subject"])]
    ingest_file(found.ledger, found.prompts, jsonl(found.config.root / "x.jsonl", rows))
    return found


def subjects(app: App, wanted: FactFilter, *, limit: int = 50) -> list[str]:
    """The subjects of all parts in order."""
    found: list[str] = []
    after = None
    while True:
        with app.ledger.read() as session:
            part = search(session, wanted, limit=limit, after=after)
        found += [fact.subject.id for fact in part.facts]
        if part.after is None:
            return found
        after = part.after


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cro", ["HR"]),
        ("CROÀC", ["HR"]),
        ("croàcia % _", ["HR"]),
        ("fr", ["FR", "FR"]),
        ("HU", ["HU"]),
        ("%", []),
        ("rance", []),
    ],
)
def test_a_name_is_found_from_its_start(app: App, text: str, found: list[str]) -> None:
    assert subjects(app, FactFilter(text=text)) == found


def test_a_fact_is_found_by_the_start_of_its_id(app: App) -> None:
    with app.ledger.read() as session:
        first = queries.facts.list_facts(session)[0]
    assert subjects(app, FactFilter(text=first.id[:8])) == [first.subject.id]


def test_a_new_name_of_an_old_thing_is_found_too(app: App) -> None:
    labels = {"en": "Republic of Croatia"}
    new = claim("HR", "EUR", day="2024-01-01", subject={"id": "HR", "labels": labels})
    ingest_file(app.ledger, app.prompts, jsonl(app.config.root / "y.jsonl", [new, new]))
    assert subjects(app, FactFilter(text="republic")) == ["HR", "HR"]
    assert subjects(app, FactFilter(text="croàcia")) == ["HR", "HR"]


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize(
    "wanted",
    [
        FactFilter(),
        FactFilter(relation="P38"),
        FactFilter(channel="cli"),
        FactFilter(text="f"),
        FactFilter(status=FactStatus.PENDING),
        FactFilter(status=FactStatus.SUPERSEDED, relation="P38", channel="cli"),
    ],
)
def test_parts_make_the_whole(
    app: App, wanted: FactFilter, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries.fact_search, "SCANNED_ROWS", 2)
    status = (wanted.status,) if wanted.status else ()
    with app.ledger.read() as session:
        every = queries.facts.list_facts(session, status=status)
    expected = [fact.subject.id for fact in every if not wanted.text or fact.subject.id == "FR"]
    assert sorted(subjects(app, wanted, limit=limit)) == sorted(expected)


def test_a_place_of_another_list_is_refused(app: App) -> None:
    with app.ledger.read() as session, pytest.raises(ValueError, match="another list"):
        search(session, FactFilter(), limit=1, after=("a", "b"))


def test_counts_are_of_all_statuses(app: App) -> None:
    with app.ledger.read() as session:
        found = queries.facts.counts(session)
    assert list(found) == [status.value for status in FactStatus]
    assert (found["pending"], found["superseded"], sum(found.values())) == (4, 1, 5)


def test_lines_say_how_many_facts_there_are_without_reading_them(app: App) -> None:
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
        made = queries.releases.create_candidate(
            session, batch_id="b", fact_ids=["x", "y"], now=NOW
        )
        queries.releases.create_release(
            session,
            candidate_id=made.id,
            delta_id=None,
            fact_ids=["x", "y"],
            who="",
            why="",
            now=NOW,
        )
        assert [line.facts for line in views.overviews.candidates(session, limit=9)] == [2]
        assert [line.facts for line in views.overviews.releases(session, limit=9)] == [2, 0]
        assert [r.number for r in views.overviews.releases(session, limit=9, before=1)] == [0]
        live = views.overviews.live(session)
        of_candidate = views.overviews.release_of(session, made.id)
    assert live is not None and live.status is ReleaseStatus.LIVE
    assert of_candidate is not None and of_candidate.number == 1
