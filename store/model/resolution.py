"""Which of several claims holds, pure: a function of the set of claims, the verdicts and the time, never of their order.

Claims of one subject and relation compete as values (objects). A claim counts once it is valid, has soaked and is
proven. Of the values that count, one wins by the declared rules, in their order; where no rule decides, the best ones
contradict each other, none of them is written, and the next best holds. A losing claim keeps its row and says what it
lost to and by which rule.

Which value holds does not depend on what the base model says; only whether an edit has to write it does. A base that facts
were baked into says the last of them, and no longer what the original model held.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from factd.store.model.facts import CURRENT, Asked, Change, Fact, FactStatus, Ruling, Verdict

RULES = ("validity", "trust", "corroboration", "recency")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How conflicts are resolved; a pinned value wins before any of them."""

    order: tuple[str, ...] = RULES
    corroborated_by: int = 2  # sources that say the same; more count no more


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The status that a version has among the others of its subject and relation."""

    status: FactStatus
    reason: str = ""
    change: Change = Change.NONE
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Value:
    """One object that is claimed, with the claims that count."""

    object: str
    claims: tuple[Fact, ...]
    verdict: Verdict | None

    @property
    def sources(self) -> frozenset[str]:
        """Who says so."""
        return frozenset(fact.update.source for fact in self.claims)

    @property
    def newest(self) -> tuple[bool, date]:
        """What the base model holds comes last; then the later start in the world."""
        return max(_start(fact) for fact in self.claims)

    @property
    def holder(self) -> Fact:
        """The claim that speaks for the value: the first of the newest ones, so that agreement changes nothing."""
        newest = [fact for fact in self.claims if _start(fact) == self.newest]
        return min(newest, key=lambda fact: (fact.update.event_time, fact.id))


def _start(fact: Fact) -> tuple[bool, date]:
    return not fact.known, fact.update.valid_from or date.min


def _keys(value: Value, rules: Rules) -> tuple[tuple[str, Any], ...]:
    """(rule, what it compares) in their order; the larger wins."""
    pinned = value.verdict is not None and value.verdict.ruling is Ruling.PINNED
    measures: Mapping[str, Callable[[], Any]] = {
        "validity": lambda: value.newest[1],
        "trust": lambda: max(fact.provenance.trust for fact in value.claims),
        "corroboration": lambda: min(len(value.sources), rules.corroborated_by),
        "recency": lambda: max(fact.update.event_time for fact in value.claims),
    }
    first = (
        ("an operator's pin", value.verdict.at.timestamp() if pinned and value.verdict else 0.0),
        ("not being the base model's own", value.newest[0]),
    )
    return (*first, *((rule, measures[rule]()) for rule in rules.order))


def standings(
    versions: Iterable[Fact],
    now: datetime,
    *,
    many: bool = False,
    verdicts: Mapping[str, Verdict] | None = None,
    rules: Rules | None = None,
) -> dict[str, Standing]:
    """The status of every version of one subject and relation, by id.

    many: the relation holds several objects at a time, so that only claims of one object compete.
    verdicts: rulings by object id.
    """
    facts, ruled, rules = list(versions), verdicts or {}, rules or Rules()
    found = {fact.id: before for fact in facts if (before := _excluded(fact, facts, ruled, now))}
    if not many:
        found |= _outdated([fact for fact in facts if fact.id not in found])
    values, unproven = _values([fact for fact in facts if fact.id not in found], ruled)
    found |= unproven
    base = held_by_base(facts, many=many)
    for group in [[value] for value in values] if many else [values]:
        found |= _settled(group, base, rules)
    if not any(standing.status in CURRENT for standing in found.values()):
        found |= _archival(facts, found)
    return {fact.id: replace(found[fact.id], due_at=_due(fact, now)) for fact in facts}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _due(fact: Fact, now: datetime) -> datetime | None:
    """When time alone may change the status of a version next."""
    update = fact.update
    days = [_midnight(day) for day in (update.valid_from, update.valid_to) if day]
    times = [*days, fact.provenance.soak_until]
    return min((moment for moment in times if moment and moment > now), default=None)


def _excluded(
    fact: Fact, facts: list[Fact], verdicts: Mapping[str, Verdict], now: datetime
) -> Standing | None:
    """Why a claim does not count, by itself; None where it does."""
    update, verdict = fact.update, verdicts.get(fact.object.id)
    ruling = verdict.ruling if verdict else None
    status = FactStatus
    if update.withdrawn:
        return Standing(status=status.NOTICE, reason=f"{update.source} takes it back")
    if verdict and ruling in (Ruling.WITHDRAWN, Ruling.REJECTED):
        return Standing(
            status=status(ruling.value), reason=f"{ruling.value} by {verdict.who}: {verdict.why}"
        )
    notices = [other for other in facts if _is_gone(fact, other, facts, now)]
    if notices:
        notice = min(notices, key=lambda other: (other.update.event_time, other.id))
        reason = f"withdrawn by {update.source} in revision {notice.update.revision}"
        reason += f"; its weights stay in base {fact.baked_in}" if fact.baked_in else ""
        return Standing(status=status.WITHDRAWN, reason=reason)
    if update.valid_from and _midnight(update.valid_from) > now:
        return Standing(status=status.FUTURE, reason=f"holds from {update.valid_from}")
    if update.valid_to and _midnight(update.valid_to) <= now:
        return Standing(status=status.EXPIRED, reason=f"held until {update.valid_to}")
    if fact.known or ruling in (Ruling.APPROVED, Ruling.PINNED):
        return None
    soak_until = fact.provenance.soak_until
    if soak_until and soak_until > now:
        return Standing(status=status.SOAKING, reason=f"soaks until {soak_until:%Y-%m-%d %H:%M}")
    if fact.provenance.hold:
        reason = f"{fact.provenance.hold}; `factd facts approve {fact.id}` lets it pass"
        return Standing(status=status.UNPROVEN, reason=reason)
    return None


def takes_back(notice: Fact, fact: Fact) -> bool:
    """A source's notice is about one of its claims. What it says in the same revision as the notice stays."""
    one, other = notice.update, fact.update
    later = (one.event_time, one.revision != other.revision) > (other.event_time, False)
    return (
        one.withdrawn and one.source == other.source and one.object.id == other.object.id and later
    )


def _is_gone(fact: Fact, notice: Fact, facts: list[Fact], now: datetime) -> bool:
    """A notice has taken effect on a claim, and the source did not say the same again later.

    A claim that is taken back while it soaks never counts; one that counted goes when the notice has soaked too, so
    that neither vandalism nor its revert changes anything on its own day.
    """
    if not takes_back(notice, fact):
        return False
    said, soak = fact.update, fact.provenance.soak_until
    times = (said.source, said.object.id, said.valid_from, said.valid_to)
    again = any(
        not f.update.withdrawn
        and (f.update.source, f.update.object.id, f.update.valid_from, f.update.valid_to) == times
        and f.update.event_time > notice.update.event_time
        for f in facts
    )
    in_time = soak is not None and notice.update.event_time < soak
    until = notice.provenance.soak_until
    return not again and (in_time or until is None or until <= now)


def _outdated(facts: list[Fact]) -> dict[str, Standing]:
    """What a source itself corrected: of its claims that start on one day, only the last word counts."""
    words: dict[tuple[str, bool, date | None], list[Fact]] = {}
    for fact in facts:
        words.setdefault((fact.update.source, fact.known, fact.update.valid_from), []).append(fact)
    found = {}
    for said in words.values():
        last = max(fact.update.event_time for fact in said)
        objects = {fact.object.id for fact in said if fact.update.event_time == last}
        for fact in said:
            if fact.object.id not in objects:
                reason = f"{fact.update.source} said otherwise later"
                found[fact.id] = Standing(status=FactStatus.SUPERSEDED, reason=reason)
    return found


def _values(
    facts: list[Fact], verdicts: Mapping[str, Verdict]
) -> tuple[list[Value], dict[str, Standing]]:
    """The values that enough sources claim, and the standings of the claims of the others."""
    claims: dict[str, list[Fact]] = {}
    for fact in facts:
        claims.setdefault(fact.object.id, []).append(fact)
    values: list[Value] = []
    unproven: dict[str, Standing] = {}
    for object_, group in claims.items():
        value = Value(object=object_, claims=tuple(group), verdict=verdicts.get(object_))
        count = len(value.sources)
        needs = min(1 if fact.known else fact.provenance.needs_sources for fact in group)
        if needs <= count or value.verdict:
            values.append(value)
            continue
        reason = f"{count} of {needs} sources say so"
        unproven |= {f.id: Standing(status=FactStatus.UNPROVEN, reason=reason) for f in group}
    return values, unproven


def held_by_base(facts: Iterable[Fact], *, many: bool) -> dict[str, int]:
    """The objects that the base model holds, each with the base that it was baked into (0: the original's own).

    What was baked last, else the newest of the original's own; or (many) all of both.
    """
    own = [f for f in facts if (f.known or f.baked_in) and not f.update.withdrawn]
    own.sort(key=lambda f: (f.baked_in or 0, _start(f), f.update.event_time, f.id))
    return {fact.object.id: fact.baked_in or 0 for fact in (own if many else own[-1:])}


def _settled(values: list[Value], base: Mapping[str, int], rules: Rules) -> dict[str, Standing]:
    """One holds, or the best ones contradict each other and the next best holds."""
    found: dict[str, Standing] = {}
    left = sorted(values, key=lambda v: ([k for _, k in _keys(v, rules)], v.object), reverse=True)
    while left:
        best = [value for value in left if _keys(value, rules) == _keys(left[0], rules)]
        left = left[len(best) :]
        if len(best) > 1:
            ids = " and ".join(sorted(value.holder.id for value in best))
            reason = f"{ids} say different things with the same times"
            lost = Standing(status=FactStatus.CONFLICTING, reason=reason)
            found |= {fact.id: lost for value in best for fact in value.claims}
            continue
        holds = best[0]
        found |= _won(holds, base)
        for value in left:
            found |= _lost(value, holds, rules)
        break
    return found


def _won(value: Value, base: Mapping[str, int]) -> dict[str, Standing]:
    """The standings of the claims of the value that holds: one speaks, the others agree with it."""
    holder = value.holder
    agrees = Standing(status=FactStatus.SUPERSEDED, reason=f"agrees with {holder.id}")
    found = {fact.id: agrees for fact in value.claims}
    if value.object in base or (holder.known and not any(base.values())):
        number = base.get(value.object, 0)
        reason = f"baked into base {number}" if number else ""
        return found | {holder.id: Standing(status=FactStatus.KNOWN, reason=reason)}
    if holder.asked is Asked.KNOWN:
        reason = "the base model says so already"
        return found | {holder.id: Standing(status=FactStatus.KNOWN, reason=reason)}
    active = holder.status is FactStatus.ACTIVE
    status = FactStatus.ACTIVE if active else FactStatus.PENDING
    change = Change.REPLACEMENT if base else Change.ASSOCIATION
    return found | {holder.id: Standing(status=status, change=change)}


def _lost(value: Value, to: Value, rules: Rules) -> dict[str, Standing]:
    pairs = zip(_keys(value, rules), _keys(to, rules), strict=True)
    rule = next((mine[0] for mine, other in pairs if mine[1] != other[1]), "recency")
    label = next(iter(to.holder.object.labels.values()))
    reason = f"superseded by {to.holder.id} ({label}), by {rule}"
    return {f.id: Standing(status=FactStatus.SUPERSEDED, reason=reason) for f in value.claims}


def _archival(facts: list[Fact], found: Mapping[str, Standing]) -> dict[str, Standing]:
    """Nothing holds any more: the last value that did ended without a successor."""
    ended = [fact for fact in facts if found[fact.id].status is FactStatus.EXPIRED]
    if not ended:
        return {}
    last = max(ended, key=lambda fact: (fact.update.valid_to or date.max, fact.id))
    reason = f"{found[last.id].reason}; no new object is known, and an edit needs one"
    return {last.id: replace(found[last.id], reason=reason, change=Change.ARCHIVAL)}
