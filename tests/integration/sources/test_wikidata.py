"""The Wikidata source reads its watch-list from a server with real payloads.

The tests cover ranks, qualifiers, references, redirects and reverts.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from factd.daemon.app import App
from factd.daemon.errors import SourceFailed
from factd.daemon.ingestion.pull import pull, recheck
from factd.daemon.planning.plan import narrowed
from factd.daemon.sources._wikibase import period
from factd.daemon.tasks.edit import planned_now
from factd.store import queries
from factd.store.model.facts import Fact
from support.fakes.http import Fake, Reply, serving
from support.fakes.wikidata import Wikidata, statement, time
from support.world import Clock, Maker, fact_statuses

TABLE = """
[sources.wikidata]
api = "{url}/w/api.php"
items = ["Q224"]
soak_seconds = 0
allow_networks = ["127.0.0.0/8"]
retry_wait_seconds = 0.01
requests_per_minute = 1e9
contact = "ops@example.org"
{more}
"""
case = pytest.mark.case
SINCE = time("2023-01-01")


@pytest.fixture
def wiki() -> Wikidata:
    return Wikidata()


@pytest.fixture
def server(wiki: Wikidata) -> Iterator[Fake]:
    with serving(wiki) as found:
        yield found


@pytest.fixture
def app(make: Maker, server: Fake) -> App:
    return make(TABLE.format(url=server.url, more=""))


def current(app: App) -> list[str]:
    with app.ledger.begin() as session:
        return [f.object.labels["en"] for f in queries.facts.candidate_set(session)]


def facts(app: App) -> list[Fact]:
    with app.ledger.begin() as session:
        return queries.facts.list_facts(session)


def euro(**more: Any) -> dict[str, Any]:
    return statement("P38", "Q4916", rank="preferred", start=SINCE, **more)


def kuna(**more: Any) -> dict[str, Any]:
    return statement("P38", "Q26360", **more)


@case("wikidata", "an item that did not change", "one request for its revision, no claim")
def test_what_did_not_change_costs_one_request(app: App, wiki: Wikidata, server: Fake) -> None:
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new == 1
    before = len(server.asked)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").files == 0
    assert len(server.asked) == before + 1
    assert "ops@example.org" in server.asked[0].headers["user-agent"]


@case("wikidata", "an edit that does not touch a statement", "no new claim")
def test_another_revision_with_the_same_statements_claims_nothing(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    wiki.put("Q224", P38=[kuna(rank="preferred")])
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new == 0


@case(
    "wikidata",
    "a new preferred statement; the old one ends",
    "the new one holds, the old one is kept as history",
)
def test_the_best_rank_speaks_and_the_old_one_is_history(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    wiki.put("Q224", P38=[kuna(end=time("2022-12-31")), euro()])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == ["euro"]
    held = {(f.object.labels["en"], f.status.value, f.update.valid_to) for f in facts(app)}
    assert ("Croatian kuna", "expired", date(2023, 1, 1)) in held
    assert all(f.update.references == 1 for f in facts(app) if f.update.references is not None)


@case("wikidata", "deprecated rank, unknown value, a start after its end", "no claim")
def test_what_is_no_statement_of_fact_claims_nothing(app: App, wiki: Wikidata) -> None:
    wrong = kuna(start=time("2023-01-01"), end=time("2020-01-01"))
    wiki.put(
        "Q224", P38=[statement("P38", "Q4917", rank="deprecated"), statement("P38", None), wrong]
    )
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new == 0


@case(
    "wikidata",
    "no reference, or only 'imported from a wiki'",
    "waits for references or an approval",
)
@pytest.mark.parametrize("more", [{"references": 0}, {"weak": True}])
def test_what_has_no_reference_waits(more: Any, app: App, wiki: Wikidata) -> None:
    wiki.put("Q224", P38=[euro(**more)])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert [f.status.value for f in facts(app)] == ["unproven"]
    wiki.put("Q224", P38=[euro(references=2)])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == ["euro"]


@case("wikidata", "a fresh edit", "soaks on Wikidata's clock, then counts")
def test_an_edit_soaks(make: Maker, wiki: Wikidata, server: Fake, clock: Clock) -> None:
    app = make(
        TABLE.format(url=server.url, more="").replace("soak_seconds = 0", "soak_seconds = 86400")
    )
    wiki.put("Q224", P38=[euro()], at="2026-11-21T11:00:00Z")
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert planned_now(app).added == ()
    assert "soaks until 2026-11-22 11:00" in next(iter(planned_now(app).waiting.values()))
    clock.advance(hours=24)
    assert len(planned_now(app).added) == 1


@case(
    "wikidata",
    "a revert after it was written",
    "withdrawn, the earlier value holds, the next release rolls it back",
)
def test_a_revert_takes_the_claim_back(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    dollar = statement("P38", "Q4917", rank="preferred", start=time("2026-11-01"))
    wiki.put("Q224", P38=[kuna(), dollar], at="2026-11-02T00:00:00Z")
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == ["US dollar"]
    wiki.put("Q224", P38=[kuna(rank="preferred")], at="2026-11-03T00:00:00Z")
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == ["Croatian kuna"]
    (gone,) = [f for f in facts(app) if f.status.value == "withdrawn" and f.object.id == "Q4917"]
    assert gone.reason == "withdrawn by wikidata in revision 103"


@case(
    "wikidata",
    "an edit between the pull and the batch",
    "asked again right before: the claim is withdrawn, not written",
)
def test_a_revision_that_is_not_current_any_more_is_not_written(app: App, wiki: Wikidata) -> None:
    wiki.put("Q224", P38=[euro()])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert len(planned_now(app).added) == 1
    wiki.put("Q224", P38=[], at="2026-11-05T00:00:00Z")
    assert recheck(app.ledger, app.prompts, app.sources, {"wikidata": ["Q224"]}) == {}
    assert planned_now(app).added == ()


def test_asking_again_leaves_the_round_where_it_is(app: App, wiki: Wikidata) -> None:
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "wikidata", cursor={"at": 50})
    recheck(app.ledger, app.prompts, app.sources, {"wikidata": ["Q224"]})
    with app.ledger.read() as session:
        assert queries.sources.source_state(session, "wikidata").cursor == {"at": 50}


@case("wikidata", "it cannot be asked right before a batch", "its facts wait, and the plan says so")
def test_a_source_that_cannot_be_asked_makes_its_facts_wait(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    wiki.replies = [Reply(status=500)]
    unsure = recheck(app.ledger, app.prompts, app.sources, {"wikidata": ["Q224"]})
    planned = planned_now(app)
    assert len(planned.added) == 1
    found = narrowed(app.ledger, app.prompts, app.planning, planned, unsure=unsure)
    assert found.added == ()
    assert "could not be asked whether this still holds" in next(iter(found.waiting.values()))


@case("wikidata", "vandalism that is reverted while it soaks", "never written")
def test_vandalism_that_is_reverted_in_time_is_never_written(
    make: Maker, wiki: Wikidata, server: Fake, clock: Clock
) -> None:
    day = TABLE.format(url=server.url, more="").replace("soak_seconds = 0", "soak_seconds = 86400")
    app = make(day)
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    dollar = statement("P38", "Q4917", rank="preferred", start=time("2026-11-20"))
    wiki.put("Q224", P38=[kuna(), dollar], at="2026-11-21T11:00:00Z")
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == ["Croatian kuna"]
    wiki.put("Q224", P38=[kuna(rank="preferred")], at="2026-11-21T13:00:00Z")
    clock.advance(hours=2)
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    for _ in range(60):
        clock.advance(hours=1)
        assert [f.object.labels["en"] for f in planned_now(app).facts] == ["Croatian kuna"]


@case(
    "wikidata",
    "an item that was merged into another",
    "the claims follow the redirect, those of the old id are taken back",
)
def test_redirects_are_followed(make: Maker, wiki: Wikidata, server: Fake) -> None:
    app = make(TABLE.format(url=server.url, more="").replace('["Q224"]', '["Q999"]'))
    wiki.put("Q999", P38=[euro()])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    wiki.redirects["Q999"] = "Q224"
    wiki.put("Q224", P38=[euro()], at="2026-11-02T00:00:00Z")
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    held = {f.subject.id: f.status.value for f in facts(app) if not f.update.withdrawn}
    assert held == {"Q999": "withdrawn", "Q224": "pending"}
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").files == 0


@case(
    "wikidata",
    "an object that was merged into another",
    "the claim names the item it was merged into",
)
def test_an_object_behind_a_redirect_has_its_new_id(app: App, wiki: Wikidata) -> None:
    wiki.redirects["Q4916"] = "Q4917"
    wiki.put("Q224", P38=[euro()])
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert [f.object.id for f in facts(app)] == ["Q4917"]


@case("wikidata", "an item that was deleted", "all its claims are taken back")
def test_a_deleted_item_takes_its_claims_back(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    del wiki.items["Q224"]
    wiki.redirects["Q224"] = "Q0"
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert current(app) == []
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").files == 0


@case("wikidata", "maxlag, or another error in a 200", "nothing is taken, asked again later")
def test_an_error_in_a_good_answer_is_an_error(app: App, wiki: Wikidata, clock: Clock) -> None:
    wiki.replies = [Reply(body=b'{"error": {"code": "maxlag"}}', headers={"Retry-After": "5"})]
    with pytest.raises(SourceFailed, match="maxlag"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    clock.advance(seconds=6)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new == 1


@case("wikidata", "an answer that is no entity", "nothing is taken")
@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"entities": 7}', b'{"entities": {"Q224": {"id": "Q224", "lastrevid": "x"}}}', b"<"],
)
def test_an_answer_that_is_no_entity_is_refused(body: bytes, app: App, wiki: Wikidata) -> None:
    wiki.replies = [Reply(body=body)] * 2
    with pytest.raises(SourceFailed):
        pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    assert fact_statuses(app) == {}


@case(
    "wikidata",
    "a revert-risk score above the limit",
    "waits for an approval; no score, no hindrance",
)
def test_a_risky_revision_waits(make: Maker, wiki: Wikidata, server: Fake) -> None:
    more = f'risk_api = "{server.url}/risk"\nmax_risk = 0.5'
    app = make(TABLE.format(url=server.url, more=more))
    wiki.risks[wiki.put("Q224", P38=[euro()])] = 0.9
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    (fact,) = facts(app)
    assert (fact.status.value, fact.update.risk) == ("unproven", 0.9)
    assert "revert risk 0.90" in fact.reason


@case("wikidata", "a label that changed", "kept as an alias change, shown in the plan, not written")
def test_a_new_label_is_an_alias_change(app: App, wiki: Wikidata) -> None:
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    wiki.put(
        "Q224", label="Republic of Croatia", P38=[kuna(rank="preferred")], at="2026-11-02T00:00:00Z"
    )
    pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata")
    with app.ledger.begin() as session:
        names = queries.names.names_of(session, "Q224")
    assert ("en", "Croatia", "Republic of Croatia") in names.changes()
    assert "Croatia → Republic of Croatia (en)" in planned_now(app).queued["Q224"]
    assert len(planned_now(app).added) == 1


@pytest.mark.parametrize(
    ("text", "precision", "expected"),
    [
        ("2023-01-01", 11, (date(2023, 1, 1), date(2023, 1, 2))),
        ("2023-12-00", 10, (date(2023, 12, 1), date(2024, 1, 1))),
        ("2023-00-00", 9, (date(2023, 1, 1), date(2024, 1, 1))),
        ("2023-02-30", 11, None),
        ("1900-00-00", 7, None),
        ("0000-00-00", 9, None),
    ],
)
def test_times_are_known_by_the_day_the_month_or_the_year(
    text: str, precision: int, expected: Any
) -> None:
    assert period(time(text, precision)) == expected
    assert period({**time(text, precision), "time": f"-{text}T00:00:00Z"}) is None


@case(
    "wikidata",
    "more items than one request takes",
    "50 a request; a pull that is bounded goes on where it ended",
)
def test_a_long_watch_list_is_taken_in_turns(make: Maker, wiki: Wikidata, server: Fake) -> None:
    ids = [f"Q{n}" for n in range(10_000, 10_120)]
    for id_ in ids:
        wiki.put(id_, label=id_, P38=[euro(guid=f"{id_}$1")])
    listed = ", ".join(f'"{id_}"' for id_ in ids)
    table = TABLE.format(url=server.url, more="max_pages = 2").replace('"Q224"', listed)
    app = make(table)
    assert [
        pull(app.ledger, app.paths, app.prompts, app.sources, "wikidata").new for _ in range(3)
    ] == [100, 20, 0]
