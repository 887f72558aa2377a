"""Everything that is known about one fact, and facts as lines of text.

`factd facts explain`, the console's page of a fact and the API show the same explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factd.daemon.ledger import Ledger
from factd.store import queries
from factd.store.model.bases import Base
from factd.store.model.evidence import Belief, QuarantinedFact
from factd.store.model.facts import Fact, Verdict
from factd.store.model.names import Names
from factd.store.model.releases import ReleaseStatus


@dataclass(frozen=True, kw_only=True)
class FactExplanation:
    """One fact with its history, what was decided about it, and where it was written."""

    fact: Fact
    versions: tuple[Fact, ...]  # of the same subject and relation, this fact included
    verdicts: Mapping[str, Verdict]  # by object id
    names: Names  # of the subject
    releases: Mapping[int, ReleaseStatus]  # the releases that carry the fact
    beliefs: Sequence[Belief]  # what the base model answered before the fact was written
    set_aside: Sequence[QuarantinedFact]
    base: Base | None = None  # the base that the fact is baked into

    def as_json(self) -> dict[str, Any]:
        """The document of `factd facts explain --json`."""
        return {
            "fact": self.fact.as_json(),
            "versions": [version.as_json() for version in self.versions],
            "verdicts": {object_: verdict_json(v) for object_, v in self.verdicts.items()},
            "names": {"labels": self.names.labels, "aliases": self.names.aliases},
            "releases": [{"number": n, "status": s.value} for n, s in self.releases.items()],
            "beliefs": [belief.as_json() for belief in self.beliefs],
            "set_aside": [set_aside.as_json() for set_aside in self.set_aside],
            "base": self.base.as_json() if self.base else None,
        }

    def lines(self) -> list[str]:
        """The explanation for the terminal."""
        lines = [fact_line(self.fact), *provenance_lines(self.fact), *name_lines(self.names)]
        lines += [baked_line(self.base)] if self.base else []
        lines += [belief_line(belief) for belief in self.beliefs]
        lines += [f"set aside {row.at:%Y-%m-%d %H:%M}: {row.reason}" for row in self.set_aside]
        others = [version for version in self.versions if version.id != self.fact.id]
        lines += [f"competes  {fact_line(version)}" for version in others]
        for object_, v in self.verdicts.items():
            lines.append(
                f"verdict   {object_} {v.ruling.value} by {v.who}, {v.at:%Y-%m-%d}: {v.why}"
            )
        carriers = ", ".join(f"{n} ({s.value})" for n, s in self.releases.items())
        return [*lines, f"releases  {carriers or 'none'}"]


def explain_fact(ledger: Ledger, id_: str, *, newest: int | None = None) -> FactExplanation:
    """The explanation of the fact with this id, or with the only id that begins like this.

    newest: look only at this many of the last releases for the fact. Raises: NotFound.
    """
    with ledger.read() as session:
        fact = queries.facts.get_fact(session, id_)
        return FactExplanation(
            fact=fact,
            versions=tuple(queries.facts.history(session, *fact.update.pair)),
            verdicts=queries.facts.verdicts(session, *fact.update.pair),
            names=queries.names.names_of(session, fact.subject.id),
            releases=queries.releases.releases_with_fact(session, fact.id, newest=newest),
            beliefs=queries.evidence.beliefs(session, [fact.id]).get(fact.id, []),
            set_aside=queries.evidence.list_quarantine(session, fact_id=fact.id),
            base=queries.bases.base(session, fact.baked_in) if fact.baked_in else None,
        )


def fact_line(fact: Fact, language: str = "en") -> str:
    """A fact in one line: id, status, relation, subject, object, since when, and the reason of the
    status.
    """
    subject, object_ = names_in(fact, language)
    since = f" since {fact.update.valid_from}" if fact.update.valid_from else ""
    why = f" ({fact.reason})" if fact.reason else ""
    return f"{fact.id}  {fact.status.value:<11} {fact.relation:<5} {subject}: {object_}{since}{why}"


def short_fact_line(fact: Fact, language: str = "en") -> str:
    """A fact in a few words, without its status."""
    subject, object_ = names_in(fact, language)
    return f"{fact.id}  {fact.relation} {subject}: {object_}"


def names_in(fact: Fact, language: str) -> tuple[str, str]:
    """Subject and object by their labels in a language, or by their ids where they have none."""
    subject, object_ = (
        entity.labels.get(language, entity.id) for entity in (fact.subject, fact.object)
    )
    return subject, object_


def baked_line(base: Base) -> str:
    """The base whose weights hold the fact, and the release that was baked into it."""
    at = f"{base.created_at:%Y-%m-%d}"
    return (
        f"baked     into base {base.number} from release {base.release}, "
        f"{at}, by {base.who}: {base.why}"
    )


def belief_line(belief: Belief) -> str:
    """What the base model answered, and how consistently."""
    how_sure = (
        f"{belief.certainty:.0%} of {belief.asked} answers, {belief.agreement:.0%} of wordings"
    )
    return f"believed  {belief.answer!r} in {belief.language} ({how_sure})"


def verdict_json(verdict: Verdict) -> dict[str, str]:
    """A verdict for `--json` and the API."""
    about = {"ruling": verdict.ruling.value, "why": verdict.why, "who": verdict.who}
    return {**about, "at": verdict.at.isoformat()}


def provenance_lines(fact: Fact) -> list[str]:
    """Which source claims the fact, how the claim reached factd, and what the base model said."""
    update, how = fact.update, fact.provenance
    references = f", {update.references} references" if update.references is not None else ""
    at, channel = f"{update.event_time:%Y-%m-%d %H:%M}", how.channel
    licence = f", {how.licence}" if how.licence else ""
    place = f"{how.file} line {how.line}, seen {fact.observed_at:%Y-%m-%d %H:%M}"
    lines = [
        f"said by   {update.source}, revision {update.revision}, {at}{references}",
        f"came by   {channel} (trust {how.trust}{licence}): {place}",
    ]
    lines += [f"payload   sha256 {how.payload_hash}"] if how.payload_hash else []
    lines += [f"change    {fact.change.value}"] if fact.change.value != "none" else []
    lines += [f"base said {fact.base_answer}"] if fact.base_answer else []
    return lines


def name_lines(names: Names) -> list[str]:
    """The earlier names of the subject, a line for each change."""
    return [f"renamed   {old} → {new} ({language})" for language, old, new in names.changes()]
