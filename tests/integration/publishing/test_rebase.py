"""A rebase: what it bakes and frees, how it is undone, and what a crash leaves."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factd.daemon.app import App, based, open_app, writing
from factd.daemon.backup import retention
from factd.daemon.errors import Refused
from factd.daemon.publishing import bases, version_files
from factd.daemon.tasks import rebase
from factd.editor.files.folders import sha256_file
from factd.store import queries
from factd.store.model.bases import Base, BaseStatus
from factd.store.model.facts import Fact
from factd.store.model.releases import ReleaseStatus
from support.databases import CONFIGS
from support.paths import GOLDEN
from support.terminal import FEED, THINGS, Operator, update
from support.world import at

LATER = update(THINGS[0], "Chile", "2024-01-01")  # supersedes a fact of the feed
OTHER = update(THINGS[2], "Egypt", "2024-01-01")  # about a thing that no edit has touched
BACK = update(THINGS[0], "Germany", "2020-01-01") | {
    "revision": "retraction",
    "event_time": "2024-01-01T00:00:00Z",
    "withdrawn": True,
}


def fed(folder: Path) -> Operator:
    """An operator whose release 1 holds the facts of the feed."""
    operator = Operator(folder)
    operator.ingest(FEED)
    operator("edit", "--publish")
    return operator


@pytest.fixture(scope="module")
def one_edit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if CONFIGS[-1].getoption("--database") == "postgresql":
        pytest.skip("each test copies the folder of one that was made, with its SQLite file")
    return fed(tmp_path_factory.mktemp("one") / "factd").folder


@pytest.fixture(scope="module")
def one_rebase(one_edit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    operator = Operator.copy(one_edit, tmp_path_factory.mktemp("rebased") / "factd")
    operator("rebase", "--why", "room")
    return operator.folder


@pytest.fixture
def before(one_edit: Path, tmp_path: Path) -> Operator:
    return Operator.copy(one_edit, tmp_path / "factd")


@pytest.fixture
def rebased(one_rebase: Path, tmp_path: Path) -> Operator:
    return Operator.copy(one_rebase, tmp_path / "factd")


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Iterator[App]:
    """The application of the operator that the test has."""
    mine = {"before", "rebased"} & set(request.fixturenames)
    found = open_app(request.getfixturevalue(mine.pop()).folder / "factd.toml")
    yield found
    found.ledger.store.close()


def weights(folder: Path) -> str:
    return sha256_file(folder / "model.safetensors")


def the_fact(operator: Operator, thing: str, country: str) -> str:
    found = operator("facts", "history", thing, "T1")
    said = (f for f in found if f["object"]["id"] == country and f["status"] != "notice")
    return str(next(said)["id"])


def status_of(operator: Operator, thing: str) -> dict[str, str]:
    found = operator("facts", "history", thing, "T1")
    return {f["object"]["id"]: f["status"] for f in found if f["status"] != "notice"}


def in_database(app: App, number: int) -> Base:
    with app.ledger.read() as session:
        return queries.bases.base(session, number)


def marked(app: App) -> dict[str, int | None]:
    with app.ledger.read() as session:
        found: list[Fact] = queries.facts.list_facts(session)
    return {fact.subject.id: fact.baked_in for fact in found if not fact.known}


def test_a_rebase_serves_the_same_weights_and_frees_the_budget(rebased: Operator, app: App) -> None:
    one = rebased.folder / "published" / "versions" / "1"
    assert rebased.published() == weights(one) == weights(app.paths.base(1))
    assert weights(one) != weights(GOLDEN / "llama" / "model")
    status = rebased("status")
    assert (status["live"]["number"], status["live"]["base"], status["live"]["facts"]) == (2, 1, [])
    assert (status["budget"]["used"], status["base"]["release"]) == (0, 1)
    assert status["facts"]["active"] == status["facts"]["pending"] == 0
    assert marked(app) == {"Zoeshost": 1, "Kagle Clahal": 1}
    assert app.workbench.table.path == app.paths.base(1)
    assert rebased("config", "show")["model.path in effect"]["value"].endswith(
        "/bases/1: base 1, baked from release 1"
    )
    assert rebased("releases", "diff", "1", "2") == {"added": [], "removed": []}
    assert rebased("releases", "verify", "2")["ok"]
    assert not rebased("plan")["changed"]
    assert "there is nothing to bake" in rebased.refused("rebase", "--why", "again")


def test_what_was_done_is_said_to_people(rebased: Operator) -> None:
    done = rebased.invoke("rebase", "--undo", "--why", "test").stdout.splitlines()
    assert done == ["base 0 is in effect again with release 1: 2 facts are edits again"]
    listed = rebased.invoke("bases", "list").stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["1", "retired"], ["0", "active"]]


def test_an_undo_is_handed_over_to_the_servers(rebased: Operator) -> None:
    told = rebased.folder / "told"
    shell = f'command = ["sh", "-c", "echo $FACTD_RELEASE >> {told}"]\nunasked = true\n'
    path = rebased.folder / "factd.toml"
    path.write_text(path.read_text() + f'\n[servers.it]\nkind = "command"\n{shell}')
    said = rebased.invoke("rebase", "--undo", "--why", "test").stdout
    assert "release 1     done" in said
    rebased("releases", "publish", "2")
    assert told.read_text().split() == ["1", "2"]


def test_a_baked_fact_says_so(rebased: Operator) -> None:
    fact = the_fact(rebased, "Zoeshost", "Germany")
    shown = rebased("facts", "show", fact)
    assert (shown["status"], shown["reason"]) == ("known", "baked into base 1")
    found = rebased("facts", "explain", fact)
    assert (found["base"]["number"], found["base"]["why"]) == (1, "room")
    assert "baked     into base 1 from release 1" in rebased.invoke("facts", "explain", fact).stdout


def test_a_new_claim_about_a_baked_fact_is_an_edit_of_the_new_base(rebased: Operator) -> None:
    rebased.ingest([LATER])
    assert rebased("plan")["facts"] == 1
    edited = rebased("edit", "--publish")
    assert (edited["facts"], edited["release"]) == (1, 3)
    assert status_of(rebased, "Zoeshost") == {
        "Chile": "active",
        "Germany": "superseded",
        "Egypt": "superseded",
    }
    back = rebased("rebase", "--undo", "--why", "a mistake")
    assert (back["in_effect"], back["release"], len(back["waiting"])) == (0, 1, 1)
    assert rebased("plan")["facts"] == 2  # the newer value instead of the baked one, and the other


def test_a_baked_fact_cannot_be_withdrawn(rebased: Operator, app: App) -> None:
    fact = the_fact(rebased, "Zoeshost", "Germany")
    for words in (("facts", "withdraw", fact), ("facts", "reject", fact)):
        said = rebased.refused(*words)
        assert f"fact {fact} is baked into base 1 (release 1, " in said
        assert "`factd rebase --undo` first, or ingest the right value" in said
    assert "is baked into base 1" in rebased.refused("rollback", "--fact", fact)
    assert rebased("plan")["changed"] is False
    rebased("rebase", "--undo", "--why", "to take one out")
    assert rebased("facts", "withdraw", fact)[0]["status"] == "withdrawn"
    assert len(rebased("plan")["removed"]) == 1


def test_what_a_source_takes_back_is_written_over(rebased: Operator, app: App) -> None:
    rebased.ingest([BACK])
    assert status_of(rebased, "Zoeshost") == {"Germany": "withdrawn", "Egypt": "pending"}
    shown = rebased("facts", "show", the_fact(rebased, "Zoeshost", "Germany"))
    assert shown["reason"].endswith("its weights stay in base 1")
    planned = rebased("plan")
    assert planned["added"] == [the_fact(rebased, "Zoeshost", "Egypt")]


def test_undone_it_is_as_if_it_had_never_been(rebased: Operator, app: App) -> None:
    back = rebased("rebase", "--undo", "--why", "a mistake")
    assert (back["base"], back["in_effect"], back["facts"]) == (1, 0, 2)
    assert rebased("status")["base"] is None
    assert marked(app) == {"Zoeshost": None, "Kagle Clahal": None}
    assert status_of(rebased, "Zoeshost") == {"Germany": "active", "Egypt": "superseded"}
    with writing(app) as own:  # opened while base 1 was in effect
        assert own.config.model.path == GOLDEN / "llama" / "model"
    assert based(app).workbench.base_number == 0
    assert not rebased("plan")["changed"]
    assert "no rebase is in effect" in rebased.refused("rebase", "--undo", "--why", "x")
    assert rebased("releases", "publish", "2")["base"] == 1  # and forth again
    assert marked(app) == {"Zoeshost": 1, "Kagle Clahal": 1}
    assert [b["number"] for b in rebased("bases", "list")] == [1, 0]


def test_a_rollback_goes_across_a_rebase_and_back(rebased: Operator, app: App) -> None:
    same = rebased.published()
    assert rebased("rollback", "--to", "0", "--why", "test")["base"] == 0
    assert rebased.published() == weights(GOLDEN / "llama" / "model")
    assert status_of(rebased, "Zoeshost")["Germany"] == "pending"
    assert "frozen by" in rebased.refused("rebase", "--why", "x")
    assert rebased("rollback", "--to", "1")["base"] == 0
    assert rebased("rollback", "--to", "2")["base"] == 1
    assert rebased.published() == same
    assert in_database(app, 1).status is BaseStatus.ACTIVE
    assert marked(app) == {"Zoeshost": 1, "Kagle Clahal": 1}


def test_a_base_is_pruned_when_nothing_stands_on_it(rebased: Operator, app: App) -> None:
    assert "not factd's to delete" in rebased.refused("bases", "prune", "0")
    assert "it is active" in rebased.refused("bases", "prune", "1")
    rebased("rebase", "--undo", "--why", "test")
    assert "release 2 stands on it and lies on disk" in rebased.refused("bases", "prune", "1")
    bases.delete_folder(app.versions.folder(2))
    (statistics,) = bases.statistics_of(app.ledger, app.workbench, in_database(app, 1))
    assert rebased("bases", "prune", "1", "--why", "room")["bytes"] > 0
    assert not app.paths.base(1).exists() and not statistics.exists()
    assert "base 1 is pruned; nothing can be written" in rebased.refused("releases", "publish", "2")
    assert rebased("status")["live"]["number"] == 1
    assert (GOLDEN / "llama" / "model" / "config.json").is_file()


def test_a_damaged_base_is_written_again_with_its_bytes(rebased: Operator, app: App) -> None:
    folder = app.paths.base(1)
    good = weights(folder)
    (folder / "model.safetensors").write_bytes(b"x")
    assert rebased("bases", "write", "1")["fingerprint"] == in_database(app, 1).fingerprint
    assert weights(folder) == good


def test_prune_keeps_what_an_undo_needs(rebased: Operator, app: App) -> None:
    later = at(app, lambda: datetime.now(UTC) + timedelta(days=100))
    assert retention.bases_to_prune(later.ledger, later.versions, later.config.retention) == ()
    rebased("rebase", "--undo", "--why", "test")
    assert 1 in retention.kept_candidates(app.ledger, app.versions)  # of the release that was baked
    assert (
        retention.bases_to_prune(later.ledger, later.versions, later.config.retention) == ()
    )  # release 2 lies on disk
    bases.delete_folder(app.versions.folder(2))
    assert (
        retention.bases_to_prune(app.ledger, app.versions, app.config.retention) == ()
    )  # it is young
    assert retention.prune(later).sentence().startswith("base 1, ")


class Killed(BaseException):
    """Not caught by any `except` of the program."""


def killed_at(operator: Operator, step: str) -> None:
    """Start a rebase that dies when it comes to a step."""

    def dies(stage: str, done: int, total: int) -> None:
        if stage == step:
            raise Killed

    with pytest.raises(Killed), writing(open_app(operator.folder / "factd.toml")) as own:
        rebase.rebase(own, who="me", why="room", progress=dies)


def assert_as_before(app: App) -> None:
    """Release 1 is live on the original model, base 1 is abandoned, and its folder is gone."""
    with app.ledger.read() as session:
        live = queries.releases.live_release(session)
        assert live is not None
        assert (live.number, live.base, queries.bases.in_effect(session)) == (1, 0, 0)
    assert in_database(app, 1).status is BaseStatus.ABANDONED
    assert not list((app.config.state_dir / "bases").iterdir())


EARLY, LATE = ("bake", "verify"), ("facts", "statistics")


@pytest.mark.parametrize(
    "step", [*EARLY, *(pytest.param(step, marks=pytest.mark.slow) for step in LATE)]
)
def test_killed_before_it_is_verified_a_base_is_abandoned(
    before: Operator, app: App, step: str
) -> None:
    killed_at(before, step)
    (app.config.state_dir / "bases" / "1.tmp").mkdir(parents=True)
    assert in_database(app, 1).status is BaseStatus.PREPARING
    with writing(app):
        assert_as_before(app)
    assert not before("plan")["changed"]


@pytest.mark.slow
def test_killed_after_it_is_verified_the_next_one_goes_on(before: Operator, app: App) -> None:
    killed_at(before, "publish")
    assert in_database(app, 1).status is BaseStatus.VERIFIED
    same = before.published()
    assert before("status")["live"]["number"] == 1
    done = before("rebase", "--why", "again")
    assert (done["base"], done["release"]) == (1, 2)
    assert before.published() == same
    assert marked(app) == {"Zoeshost": 1, "Kagle Clahal": 1}


@pytest.mark.slow
def test_a_base_whose_release_was_overtaken_can_be_pruned(before: Operator, app: App) -> None:
    killed_at(before, "publish")
    assert "release 2 stands on it and waits" in before.refused("bases", "prune", "1")
    before.ingest([OTHER])
    assert before("edit", "--publish")["release"] == 3
    before("bases", "prune", "1")
    assert in_database(app, 1).status is BaseStatus.ABANDONED
    assert not app.paths.base(1).exists()


def test_what_does_not_hold_any_more_is_not_baked(before: Operator) -> None:
    before("facts", "withdraw", the_fact(before, "Zoeshost", "Germany"))
    said = before.refused("rebase", "--why", "room")
    assert "is withdrawn now; `factd edit --publish` takes it out first" in said


@pytest.mark.slow
def test_killed_when_it_is_out_its_base_is_in_effect_at_the_next_start(
    before: Operator, app: App
) -> None:
    killed_at(before, "publish")
    with app.ledger.begin() as session:
        halfway = (ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING)
        queries.releases.move_release(session, 2, *halfway, now=app.ledger.now())
        release = queries.releases.release(session, 2)
    version_files.write_version(app.ledger, app.paths, app.versions, release)
    app.versions.switch(2)
    with writing(app) as own:
        assert own.workbench.base_number == 1
    assert in_database(app, 1).status is BaseStatus.ACTIVE
    assert marked(app) == {"Zoeshost": 1, "Kagle Clahal": 1}


@pytest.mark.slow
def test_the_weights_after_an_undo_are_those_without_the_rebase(
    rebased: Operator, one_edit: Path, tmp_path: Path
) -> None:
    before = Operator.copy(one_edit, tmp_path / "never")
    for operator in (rebased, before):
        operator.ingest([LATER, OTHER])
    rebased("edit", "--publish")
    rebased("rebase", "--undo", "--why", "test")
    for operator in (rebased, before):
        operator("edit", "--publish")
    ours, theirs = (operator("status")["live"] for operator in (rebased, before))
    assert (ours["facts"], ours["base"]) == (theirs["facts"], 0)
    assert ours["delta_id"] == theirs["delta_id"]
    assert rebased.published() == before.published()


@pytest.mark.slow
def test_releases_of_both_bases_can_be_audited_checked_and_exported(rebased: Operator) -> None:
    rebased.ingest([LATER])
    rebased("edit", "--publish")
    assert rebased("audit")["outcome"] == "passed"
    for number in ("1", "3"):
        shown = rebased("releases", "show", number)
        assert rebased("check", number)["delta_id"] == shown["delta_id"]
        out = rebased.folder / f"exported-{number}"
        rebased("export", number, "--format", "checkpoint", "--out", str(out))
        assert weights(out) == weights(rebased.folder / "published" / "versions" / number)


@pytest.mark.slow
def test_a_restored_factd_has_its_bases(rebased: Operator, tmp_path: Path) -> None:
    rebased.ingest([LATER])
    rebased("edit", "--publish")
    rebased("backup", str(tmp_path / "backup.tar"))
    found = rebased("restore", str(tmp_path / "backup.tar"), "--to", str(tmp_path / "again"))
    assert found["differ"] == [] and found["versions"] == [1, 2, 3]
    again = Operator.copy(tmp_path / "again", tmp_path / "copy")
    assert again("status")["base"]["fingerprint"] == rebased("status")["base"]["fingerprint"]
    assert weights(tmp_path / "copy" / "state" / "bases" / "1") == weights(
        rebased.folder / "state" / "bases" / "1"
    )
    assert again("rebase", "--undo", "--why", "test")["in_effect"] == 0


@pytest.mark.slow
def test_a_second_rebase_stands_on_the_first(rebased: Operator, app: App) -> None:
    rebased.ingest([LATER])
    rebased("edit", "--publish")
    done = rebased("rebase", "--why", "more room")
    assert (done["base"], done["made_of"], done["release"], done["facts"]) == (2, 3, 4, 1)
    assert marked(app)["Zoeshost"] is not None
    with app.ledger.read() as session:
        assert [base.number for base in queries.bases.lineage(session, 2)] == [2, 1]
    rebased.ingest([OTHER])
    rebased("edit", "--publish")
    assert rebased("status")["live"]["facts"] == [the_fact(rebased, THINGS[2], "Egypt")]
    assert rebased("rebase", "--undo", "--why", "test")["in_effect"] == 1
    assert rebased("rebase", "--undo", "--why", "test")["in_effect"] == 0
    assert status_of(rebased, "Zoeshost")["Chile"] == "pending"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("verify", "its SHA-256 differs from the manifest"),
        pytest.param("facts", "it does not say what the release says", marks=pytest.mark.slow),
    ],
)
def test_a_base_that_is_not_what_was_checked_is_abandoned(
    before: Operator, app: App, step: str, why: str
) -> None:
    def swaps(stage: str, done: int, total: int) -> None:
        if stage == step:
            name = "model.safetensors"
            shutil.copyfile(app.paths.original / name, app.paths.base(1) / name)

    with writing(app) as own, pytest.raises(Refused, match=why) as caught:
        rebase.rebase(own, who="me", why="room", progress=swaps)
    assert "the rebase is abandoned, release 1 still serves: " in str(caught.value)
    assert_as_before(app)
    assert why in in_database(app, 1).reason
    assert before("bases", "list")[0]["status"] == "abandoned"
