"""Facts are found by the beginning of a name, by id, status, relation and source, page by page."""

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
    app = make()
    rows = [
        claim(id_, "EUR", subject={"id": id_, "labels": {"en": name, "ca": f"{name} % _"}})
        for id_, name in COUNTRIES.items()
    ]
    rows += [claim("FR", "FRF", day="1999-01-01", subject=rows[2]["subject"])]
    ingest_file(app.ledger, app.prompts, jsonl(app.config.root / "x.jsonl", rows))
    return app


def subjects(app: App, wanted: FactFilter, *, limit: int = 50) -> list[str]:
    """The subjects of all pages, in order."""
    ids: list[str] = []
    after = None
    while True:
        with app.ledger.read() as session:
            page = search(session, wanted, limit=limit, after=after)
        ids += [fact.subject.id for fact in page.facts]
        if page.after is None:
            return ids
        after = page.after


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_a_fact_is_found_by_the_beginning_of_its_subject_s_name(
    app: App, text: str, expected: list[str]
) -> None:
    assert subjects(app, FactFilter(text=text)) == expected


def test_a_fact_is_found_by_the_beginning_of_its_id(app: App) -> None:
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
def test_the_pages_together_hold_every_fact_once(
    app: App, wanted: FactFilter, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries.fact_search, "SCANNED_ROWS", 2)
    status = (wanted.status,) if wanted.status else ()
    with app.ledger.read() as session:
        every = queries.facts.list_facts(session, status=status)
    expected = [fact.subject.id for fact in every if not wanted.text or fact.subject.id == "FR"]
    assert sorted(subjects(app, wanted, limit=limit)) == sorted(expected)


def test_a_page_key_of_another_list_is_refused(app: App) -> None:
    with app.ledger.read() as session, pytest.raises(ValueError, match="another list"):
        search(session, FactFilter(), limit=1, after=("a", "b"))


def test_the_counts_include_every_status(app: App) -> None:
    with app.ledger.read() as session:
        counts = queries.facts.counts(session)
    assert list(counts) == [status.value for status in FactStatus]
    assert (counts["pending"], counts["superseded"], sum(counts.values())) == (4, 1, 5)


def test_release_and_candidate_lines_hold_the_number_of_facts(app: App) -> None:
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
