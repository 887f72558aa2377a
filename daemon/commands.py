"""Commands that need no model: facts, plan, releases, status, rollback, freeze, pull, run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon import terminal
from daemon.console import show
from daemon.errors import Refused
from daemon.terminal import Json, Why, opened, sentences
from store import fact_queries, release_queries
from store.facts import Fact, FactStatus

facts_app = typer.Typer(no_args_is_help=True, help="Facts.")
releases_app = typer.Typer(no_args_is_help=True, help="Releases.")


def ingest(
    file: Path,
    known: Annotated[
        bool, typer.Option(help="The base model holds these facts: never write them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ingest a JSONL or CSV file of fact updates; bad lines are named and set aside."""
    from store.updates import read_updates

    with sentences():
        factd = opened()
        if not file.is_file():
            raise Refused(f"{file} is no file")
        with factd.store.begin() as session:
            lines = read_updates(file, factd.catalogue)
            report = fact_queries.ingest(
                session, lines, factd.catalogue, file=str(file), now=factd.now(), known=known
            )
    bad = [{"line": b.number, "reason": b.reason, "excerpt": b.excerpt} for b in report.bad]
    counts = {
        "lines": report.lines,
        "new": report.new,
        "unchanged": report.unchanged,
        "pending": report.pending,
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines_out = [f"{said}, {len(bad)} bad", *(f"line {b['line']}: {b['reason']}" for b in bad)]
    show({**counts, "bad": bad}, lines_out, as_json=as_json)


def said(fact: Fact, language: str = "en") -> str:
    """A fact in one line."""
    subject = fact.subject.labels.get(language, fact.subject.id)
    held = fact.object.labels.get(language, fact.object.id)
    since = f" since {fact.update.valid_from}" if fact.update.valid_from else ""
    why = f" ({fact.reason})" if fact.reason else ""
    return f"{fact.id}  {fact.status.value:<11} {fact.relation:<5} {subject}: {held}{since}{why}"


def show_facts(facts: Sequence[Fact], *, as_json: bool) -> None:
    """Facts, one a line."""
    show(
        [fact.as_json() for fact in facts],
        [said(fact) for fact in facts] or ["no facts"],
        as_json=as_json,
    )


@facts_app.command("list")
def facts_list(
    status: Annotated[FactStatus | None, typer.Option()] = None,
    relation: str | None = None,
    limit: int = 50,
    as_json: Json = False,
) -> None:
    """Fact versions."""
    with sentences(), opened().store.begin() as session:
        chosen = (status,) if status else ()
        found = fact_queries.list_facts(session, status=chosen, relation=relation, limit=limit)
    show_facts(found, as_json=as_json)


@facts_app.command("show")
def facts_show(id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One version."""
    with sentences(), opened().store.begin() as session:
        found = fact_queries.get_fact(session, id_)
    show(found.as_json(), [said(found)], as_json=as_json)


@facts_app.command("history")
def facts_history(subject: str, relation: str, as_json: Json = False) -> None:
    """All versions of one subject and relation."""
    with sentences(), opened().store.begin() as session:
        found = fact_queries.history(session, subject, relation)
    show_facts(found, as_json=as_json)


@facts_app.command("explain")
def facts_explain(id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Who said it and when, why it has its status, and which releases carry it."""
    with sentences(), opened().store.begin() as session:
        fact = fact_queries.get_fact(session, id_)
        versions = fact_queries.history(session, fact.subject.id, fact.relation)
        carried = [r for r in release_queries.list_releases(session) if fact.id in r.fact_ids]
    update = fact.update
    lines = [
        said(fact),
        f"said by {update.source}, revision {update.revision}, event {update.event_time:%Y-%m-%d %H:%M}",
        f"seen {fact.observed_at:%Y-%m-%d %H:%M}; versions: {', '.join(v.id for v in versions)}",
        "releases: " + (", ".join(f"{r.number} ({r.status.value})" for r in carried) or "none"),
    ]
    data = {
        "fact": fact.as_json(),
        "versions": [version.as_json() for version in versions],
        "releases": [{"number": r.number, "status": r.status.value} for r in carried],
    }
    show(data, lines, as_json=as_json)


@facts_app.command("withdraw")
def facts_withdraw(
    ids: Annotated[list[str], typer.Argument(metavar="ID…")],
    why: Why = "withdrawn by hand",
    as_json: Json = False,
) -> None:
    """Take facts back from the next release on; `factd rollback --fact` also writes and publishes it."""
    with sentences():
        factd = opened()
        with factd.store.begin() as session:
            found = fact_queries.withdraw(
                session, ids, factd.catalogue, why=why, who=terminal.who(), now=factd.now()
            )
    show_facts(found, as_json=as_json)


def plan(as_json: Json = False) -> None:
    """What the next batch would hold and why each other fact waits."""
    from daemon import steps

    with sentences():
        found = steps.plan(opened())
    facts = {fact.id: fact for fact in found.facts}
    lines = [f"live release {found.live}; next: {len(found.facts)} facts"]
    lines += [f"+ {said(facts[id_])}" for id_ in found.added] + [
        f"- {id_}" for id_ in found.removed
    ]
    lines += [f"waits {id_}: {reason}" for id_, reason in sorted(found.waiting.items())]
    data = {
        "live": found.live,
        "facts": len(found.facts),
        "added": list(found.added),
        "removed": list(found.removed),
        "waiting": found.waiting,
        "changed": found.changed,
    }
    show(data, lines, as_json=as_json)


@releases_app.command("list")
def releases_list(as_json: Json = False) -> None:
    """The newest first."""
    with sentences(), opened().store.begin() as session:
        found = release_queries.list_releases(session)
    lines = [
        f"{r.number:>4}  {r.status.value:<10} {len(r.fact_ids):>5} facts  {r.created_at:%Y-%m-%d %H:%M}  {r.why}"
        for r in found
    ]
    show([r.as_json() for r in found], lines or ["no releases"], as_json=as_json)


@releases_app.command("show")
def releases_show(number: int, as_json: Json = False) -> None:
    """One release with what was measured."""
    with sentences(), opened().store.begin() as session:
        found = release_queries.release(session, number)
        made = (
            release_queries.candidate(session, found.candidate_id) if found.candidate_id else None
        )
    report = dict(made.report or {}) if made else {}
    rows = report.get("measurements", [])
    lines = [f"release {number} is {found.status.value}: {len(found.fact_ids)} facts, {found.why}"]
    lines += [
        f"{m['check']:<14} {m['metric']:<11} {m['language']:<6} {number_text(m['value'])}"
        for m in rows
    ]
    data = {**found.as_json(), "batch_id": made.batch_id if made else None, "measurements": rows}
    show(data, lines, as_json=as_json)


def number_text(value: float | None) -> str:
    """A measurement's value for people."""
    return "no number" if value is None else f"{value:.3f}"


@releases_app.command("diff")
def releases_diff(first: int, second: int, as_json: Json = False) -> None:
    """The facts that the second release has and the first one has not, and the reverse."""
    with sentences(), opened().store.begin() as session:
        one, two = (set(release_queries.release(session, n).fact_ids) for n in (first, second))
        facts = {id_: fact_queries.get_fact(session, id_) for id_ in one ^ two}
    added, removed = sorted(two - one), sorted(one - two)
    lines = [f"+ {said(facts[i])}" for i in added] + [f"- {said(facts[i])}" for i in removed]
    show({"added": added, "removed": removed}, lines or ["no difference"], as_json=as_json)


@releases_app.command("publish")
def releases_publish(number: int, as_json: Json = False) -> None:
    """Bring a release out (again) and make it the live one."""
    from daemon import publishing

    with sentences():
        factd = opened()
        with factd.lock():
            publishing.recover(factd)
            found = publishing.publish(factd, number)
    show(found.as_json(), [f"release {number} is live"], as_json=as_json)


@releases_app.command("verify")
def releases_verify(number: int, as_json: Json = False) -> None:
    """Compare every file of a published release with its manifest."""
    from editor.files import verify_folder

    with sentences():
        folder = opened().config.publish.path / "versions" / str(number)
        manifest = verify_folder(folder)
    files = len(manifest["files"])
    show(
        {"release": number, "files": files, "ok": True},
        [f"{folder}: {files} files are what the manifest says"],
        as_json=as_json,
    )


def status(as_json: Json = False) -> None:
    """One screen: live release, queue, last runs, health."""
    with sentences():
        factd = opened()
        with factd.store.begin() as session:
            counts = fact_queries.counts(session)
            live = release_queries.live_release(session)
            frozen = release_queries.frozen(session)
            runs = release_queries.last_runs(session, limit=5)
            last = release_queries.list_candidates(session, limit=1)
    data: dict[str, Any] = {
        "live": live.as_json() if live else None,
        "published": factd.publisher.current(),
        "facts": counts,
        "frozen": frozen.why if frozen else None,
        "last_candidate": {
            "id": last[0].id,
            "status": last[0].status.value,
            "reasons": list(last[0].reasons),
        }
        if last
        else None,
        "runs": [
            {
                "job": r.job,
                "status": r.status.value,
                "at": r.started_at.isoformat(),
                "detail": r.detail,
            }
            for r in runs
        ],
    }
    lines = [
        f"live      release {live.number}, {len(live.fact_ids)} facts, {live.why}"
        if live
        else "live      nothing"
    ]
    lines += [f"published version {data['published']}"]
    lines += [
        "facts     " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    ]
    lines += [f"frozen    {frozen.why}"] if frozen else []
    lines += (
        [f"candidate {last[0].id} {last[0].status.value} {'; '.join(last[0].reasons)}"]
        if last
        else []
    )
    lines += [
        f"run       {r.job} {r.status.value} {r.started_at:%Y-%m-%d %H:%M:%S} {r.detail}"
        for r in runs
    ]
    show(data, lines, as_json=as_json)


def freeze(why: Annotated[str, typer.Option("--why")], as_json: Json = False) -> None:
    """The kill switch: nothing is written or published until `factd unfreeze`."""
    with sentences():
        factd = opened()
        with factd.store.begin() as session:
            release_queries.freeze(session, why=why, who=terminal.who(), now=factd.now())
    show({"frozen": why}, [f"frozen: {why}"], as_json=as_json)


def unfreeze(as_json: Json = False) -> None:
    """Go on."""
    with sentences():
        factd = opened()
        with factd.store.begin() as session:
            was = release_queries.unfreeze(session, who=terminal.who(), now=factd.now())
    show({"was_frozen": was}, ["goes on" if was else "was not frozen"], as_json=as_json)


def pull(source: Annotated[str, typer.Argument()] = "drop_folder", as_json: Json = False) -> None:
    """Poll a source now."""
    from importlib import import_module
    from importlib.util import find_spec

    with sentences():
        if not source.isidentifier() or find_spec(f"daemon.sources.{source}") is None:
            raise Refused(f"no source {source!r}; there is: drop_folder")
        found = import_module(f"daemon.sources.{source}").pull(opened())
    data = {
        "source": found.source,
        "files": found.files,
        "lines": found.lines,
        "new": found.new,
        "bad": found.bad,
    }
    show(
        data,
        [f"{found.files} files, {found.lines} lines, {found.new} new, {found.bad} bad"],
        as_json=as_json,
    )


def run() -> None:
    """The daemon."""
    from daemon.loop import Daemon

    with sentences():
        Daemon(opened(), terminal.config_path()).run()


def add(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(facts_app, name="facts")
    app.add_typer(releases_app, name="releases")
    for command in (ingest, plan, status, freeze, unfreeze, pull, run):
        app.command()(command)
