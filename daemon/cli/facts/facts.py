"""Commands about facts, which need no model: ingest, facts, plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, opened, sentences
from factd.daemon.cli.output import show
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.store import queries
from factd.store.model.bases import Base
from factd.store.model.evidence import Belief, QuarantinedFact
from factd.store.model.facts import Fact, FactStatus, Ruling, Verdict
from factd.store.model.names import Names
from factd.store.model.releases import ReleaseStatus

facts_app = typer.Typer(no_args_is_help=True, help="Facts.")
Ids = Annotated[list[str], typer.Argument(metavar="ID…")]


def ingest(
    file: Path,
    known: Annotated[
        bool, typer.Option(help="The base model holds these facts: never write them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ingest a JSONL or CSV file of fact updates; bad lines are named and set aside."""
    from factd.daemon.ingestion.pull import ingest_file

    with sentences():
        app = opened()
        if not file.is_file():
            raise Refused(f"{file} is no file")
        report = ingest_file(app.ledger, app.prompts, file, known=known)
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


def named(fact: Fact, language: str = "en") -> str:
    """What a fact says, in a few words."""
    subject, held = (x.labels.get(language, x.id) for x in (fact.subject, fact.object))
    return f"{fact.id}  {fact.relation} {subject}: {held}"


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
    subject: Annotated[str | None, typer.Option(help="Its id.")] = None,
    source: Annotated[str | None, typer.Option(help="The channel that brought it.")] = None,
    limit: int = 50,
    as_json: Json = False,
) -> None:
    """Fact versions by id; those of one status by their turn."""
    with sentences(), opened().ledger.read() as session:
        chosen: dict[str, Any] = {"relation": relation, "channel": source, "limit": limit}
        if status and not subject:
            found = queries.facts.in_write_order(session, status, **chosen)
        else:
            only = (status,) if status else ()
            found = queries.facts.list_facts(session, status=only, subject=subject, **chosen)
    show_facts(found, as_json=as_json)


@facts_app.command("show")
def facts_show(id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One version."""
    with sentences(), opened().ledger.read() as session:
        found = queries.facts.get_fact(session, id_)
    show(found.as_json(), [said(found)], as_json=as_json)


@facts_app.command("history")
def facts_history(subject: str, relation: str, as_json: Json = False) -> None:
    """All versions of one subject and relation."""
    with sentences(), opened().ledger.read() as session:
        found = queries.facts.history(session, subject, relation)
    show_facts(found, as_json=as_json)


@facts_app.command("explain")
def facts_explain(id_: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Who said it and when, why it has its status, what it competes with, and which releases carry it."""
    with sentences():
        found = explained(opened().ledger, id_)
    show(found.as_json(), found.lines(), as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Everything that is known about one fact."""

    fact: Fact
    versions: tuple[Fact, ...]
    verdicts: Mapping[str, Verdict]  # by object id
    names: Names  # of the subject
    releases: Mapping[int, ReleaseStatus]  # that carry it
    beliefs: Sequence[Belief]  # of the base model, before
    set_aside: Sequence[QuarantinedFact]
    base: Base | None = None  # that it is baked into

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "fact": self.fact.as_json(),
            "versions": [version.as_json() for version in self.versions],
            "verdicts": {object_: verdict_json(v) for object_, v in self.verdicts.items()},
            "names": {"labels": self.names.labels, "aliases": self.names.aliases},
            "releases": [{"number": n, "status": s.value} for n, s in self.releases.items()],
            "beliefs": [belief.as_json() for belief in self.beliefs],
            "set_aside": [one.as_json() for one in self.set_aside],
            "base": self.base.as_json() if self.base else None,
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = [said(self.fact), *provenance_lines(self.fact), *name_lines(self.names)]
        lines += [baked_line(self.base)] if self.base else []
        lines += [belief_line(belief) for belief in self.beliefs]
        lines += [f"set aside {one.at:%Y-%m-%d %H:%M}: {one.reason}" for one in self.set_aside]
        others = [version for version in self.versions if version.id != self.fact.id]
        lines += [f"competes  {said(version)}" for version in others]
        for object_, v in self.verdicts.items():
            lines.append(
                f"verdict   {object_} {v.ruling.value} by {v.who}, {v.at:%Y-%m-%d}: {v.why}"
            )
        carried = ", ".join(f"{n} ({s.value})" for n, s in self.releases.items())
        return [*lines, f"releases  {carried or 'none'}"]


def explained(ledger: Ledger, id_: str, *, newest: int | None = None) -> Explained:
    """newest: only so many of the last releases are looked at. Raises: NotFound."""
    with ledger.read() as session:
        fact = queries.facts.get_fact(session, id_)
        return Explained(
            fact=fact,
            versions=tuple(queries.facts.history(session, *fact.update.pair)),
            verdicts=queries.facts.verdicts(session, *fact.update.pair),
            names=queries.names.names_of(session, fact.subject.id),
            releases=queries.releases.releases_with_fact(session, fact.id, newest=newest),
            beliefs=queries.evidence.beliefs(session, [fact.id]).get(fact.id, []),
            set_aside=queries.evidence.list_quarantine(session, fact_id=fact.id),
            base=queries.bases.base(session, fact.baked_in) if fact.baked_in else None,
        )


def baked_line(base: Base) -> str:
    """The base whose weights hold a fact, and the release that it came with."""
    at = f"{base.created_at:%Y-%m-%d}"
    return f"baked     into base {base.number} from release {base.release}, {at}, by {base.who}: {base.why}"


def belief_line(belief: Belief) -> str:
    """What the base model believed, and how surely."""
    sure = f"{belief.certainty:.0%} of {belief.asked} answers, {belief.agreement:.0%} of wordings"
    return f"believed  {belief.answer!r} in {belief.language} ({sure})"


def verdict_json(verdict: Verdict) -> dict[str, str]:
    """For `--json`."""
    about = {"ruling": verdict.ruling.value, "why": verdict.why, "who": verdict.who}
    return {**about, "at": verdict.at.isoformat()}


def provenance_lines(fact: Fact) -> list[str]:
    """Who said it, how it came, and what the base model said."""
    update, how = fact.update, fact.provenance
    gives = f", {update.references} references" if update.references is not None else ""
    at, channel = f"{update.event_time:%Y-%m-%d %H:%M}", how.channel
    licence = f", {how.licence}" if how.licence else ""
    place = f"{how.file} line {how.line}, seen {fact.observed_at:%Y-%m-%d %H:%M}"
    lines = [
        f"said by   {update.source}, revision {update.revision}, {at}{gives}",
        f"came by   {channel} (trust {how.trust}{licence}): {place}",
    ]
    lines += [f"payload   sha256 {how.payload_hash}"] if how.payload_hash else []
    lines += [f"change    {fact.change.value}"] if fact.change.value != "none" else []
    lines += [f"base said {fact.base_answer}"] if fact.base_answer else []
    return lines


def name_lines(names: Names) -> list[str]:
    """What the subject was called before."""
    return [f"renamed   {old} → {new} ({language})" for language, old, new in names.changes()]


def _ruled(ids: list[str], ruling: Ruling, why: str, *, as_json: bool) -> None:
    with sentences():
        app = opened()
        more: dict[str, Any] = {"why": why, "who": common.who(), "now": app.ledger.now()}
        with app.ledger.begin() as session:
            found = queries.resolution.rule(session, ids, ruling, app.ledger.resolver, **more)
    show_facts(found, as_json=as_json)


@facts_app.command("withdraw")
def facts_withdraw(ids: Ids, why: Why = "withdrawn by hand", as_json: Json = False) -> None:
    """Take facts back from the next release on; `factd rollback --fact` also writes and publishes it."""
    _ruled(ids, Ruling.WITHDRAWN, why, as_json=as_json)


@facts_app.command("reject")
def facts_reject(ids: Ids, why: Why = "rejected by hand", as_json: Json = False) -> None:
    """Never propose these values again, whoever claims them; `factd facts lift` undoes it."""
    _ruled(ids, Ruling.REJECTED, why, as_json=as_json)


@facts_app.command("approve")
def facts_approve(ids: Ids, why: Why = "approved by hand", as_json: Json = False) -> None:
    """Let facts pass that wait for soak, references, a second source or an insertion's approval."""
    _ruled(ids, Ruling.APPROVED, why, as_json=as_json)


@facts_app.command("pin")
def facts_pin(ids: Ids, why: Why = "pinned by hand", as_json: Json = False) -> None:
    """Let these values hold, whatever else is claimed; `factd facts lift` undoes it."""
    _ruled(ids, Ruling.PINNED, why, as_json=as_json)


@facts_app.command("lift")
def facts_lift(ids: Ids, as_json: Json = False) -> None:
    """Undo what was decided about these values: pin, approval, rejection, withdrawal."""
    with sentences():
        app = opened()
        with app.ledger.begin() as session:
            found = queries.resolution.lift_rulings(
                session, ids, app.ledger.resolver, who=common.who(), now=app.ledger.now()
            )
    show_facts(found, as_json=as_json)


def plan(
    limit: Annotated[int, typer.Option(help="Lines of each kind, for people.")] = 50,
    as_json: Json = False,
) -> None:
    """What the next batch would hold and why each other fact waits."""
    from factd.daemon.tasks.edit import planned_now

    with sentences():
        found = planned_now(opened())
    facts = {fact.id: fact for fact in found.facts}
    lines = [f"live release {found.live}; next: {len(found.facts)} facts"]
    closed = found.closed or found.under_way
    lines += [f"closed    {closed}"] if closed else []
    flags = dict.fromkeys(
        found.insertions, "  (insertion: the base model does not know the subject)"
    )
    lines += [f"+ {said(facts[id_])}{flags.get(id_, '')}" for id_ in found.added[:limit]]
    lines += [f"- {id_}" for id_ in found.removed[:limit]]
    lines += [f"waits {named(waits.fact)}: {waits.why}" for waits in found.waits[:limit]]
    lines += [f"queued {id_}: {reason}" for id_, reason in sorted(found.queued.items())[:limit]]
    shown = sum(min(limit, len(x)) for x in (found.added, found.removed, found.waits, found.queued))
    every = sum(len(x) for x in (found.added, found.removed, found.waits, found.queued))
    lines += [f"… and {every - shown} lines more; --limit shows them"] if shown < every else []
    data = {
        "live": found.live,
        "facts": len(found.facts),
        "added": list(found.added),
        "removed": list(found.removed),
        "waiting": found.waiting,
        "queued": found.queued,
        "insertions": list(found.insertions),
        "closed": closed or None,
        "changed": found.changed,
    }
    show(data, lines, as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(facts_app, name="facts")
    for command in (ingest, plan):
        cli.command()(command)
