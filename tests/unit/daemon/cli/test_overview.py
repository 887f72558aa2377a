"""How factd stands, on one screen, for the command line, the pages and the API alike."""

from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.status.overview import overview, overview_json, overview_lines
from factd.daemon.web.schemas import OverviewShape
from factd.store import queries
from support.world import NOW, Maker, claim, jsonl


def test_an_overview_says_what_is_left_and_why_nothing_moves(make: Maker) -> None:
    app = make("[limits]\nedits_per_day = 3\n[planning]\ncapacity = 10\n")
    ingest_file(app.ledger, app.prompts, jsonl(app.config.root / "x.jsonl", [claim("HR", "EUR")]))
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
        queries.releases.create_candidate(session, batch_id="b", fact_ids=["x"], now=NOW)
        queries.releases.freeze(session, why="a drill", who="ada", now=NOW)
    found = overview(app.ledger, app.versions, app.planning, app.fleet, app.config.approvals)
    assert (found.budget.left, found.budget.pending, found.budget.today) == (
        10,
        1,
        {"edits": (1, 3)},
    )
    lines = overview_lines(found)
    assert {"budget    10 of 10 facts left", "today     1 of 3 edits", "frozen    a drill"} <= set(
        lines
    )
    assert overview_json(found, None)["budget"]["today"] == {"edits": (1, 3)}
    shape = OverviewShape.model_validate(found).model_dump(mode="json")
    assert (shape["budget"]["today"], shape["frozen"]["who"]) == ({"edits": [1, 3]}, "ada")


def test_an_empty_store_has_an_overview_too(make: Maker) -> None:
    app = make("")
    found = overview(app.ledger, app.versions, app.planning, app.fleet, app.config.approvals)
    assert (found.live, found.waiting, found.runs) == (None, (), ())
    assert overview_lines(found)[0] == "live      nothing"
