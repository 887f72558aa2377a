"""Conflict resolution: which of several claims holds.

The result is a pure function of the set of claims, the verdicts and the time. The order of the
claims never matters.

Claims of one subject and relation compete as values (objects). A claim counts once it is valid, has
soaked and is proven. Of the values that count, one wins by the configured rules, in their order.
Where no rule decides between the best values, they contradict each other: none of them is written,
and the next best value holds. A losing claim keeps its row, which says what the claim lost to and
by which rule.

Which value holds does not depend on what the base model says. Only whether an edit has to write the
value depends on it. A base that facts were baked into says the fact that was baked last, and no
longer what the original model said.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from factd.store.model.facts import CURRENT, BaseAnswer, Change, Fact, FactStatus, Ruling, Verdict

RULES = ("validity", "trust", "corroboration", "recency")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How conflicts are resolved. A pinned value wins before any of these rules is applied."""

    order: tuple[str, ...] = RULES
    corroborated_by: int = 2  # sources that claim the same value; further sources add nothing


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The status that conflict resolution gives to one fact version, with the reason."""

    status: FactStatus
    reason: str = ""
    change: Change = Change.NONE
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimedValue:
    """One object that is claimed, with the claims that count."""

    object: str
    claims: tuple[Fact, ...]
    verdict: Verdict | None

    @property
    def sources(self) -> frozenset[str]:
        """The sources that claim this value."""
        return frozenset(fact.update.source for fact in self.claims)

    @property
    def newest(self) -> tuple[bool, date]:
        """The newest start among the claims.

        A fact that the base model holds counts as older than any other claim.
        """
        return max(_start(fact) for fact in self.claims)

    @property
    def holder(self) -> Fact:
        """The claim that represents the value: the earliest of the newest ones.

        A later claim that agrees therefore changes nothing.
        """
        newest = [fact for fact in self.claims if _start(fact) == self.newest]
        return min(newest, key=lambda fact: (fact.update.event_time, fact.id))


def _start(fact: Fact) -> tuple[bool, date]:
    return not fact.known, fact.update.valid_from or date.min


def _ranking(value: ClaimedValue, rules: Rules) -> tuple[tuple[str, Any], ...]:
    """(rule, the value's measure under it), in the order of the rules. The larger ranking wins."""
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


def _measures(value: ClaimedValue, rules: Rules) -> list[Any]:
    return [measure for _, measure in _ranking(value, rules)]


def resolve(
    versions: Iterable[Fact],
    now: datetime,
    *,
    many: bool = False,
    verdicts: Mapping[str, Verdict] | None = None,
    rules: Rules | None = None,
) -> dict[str, Resolution]:
    """The resolution of every version of one subject and relation, by fact id.

    many: the relation holds several objects at a time, so only claims of the same object compete.
    verdicts: operators' rulings by object id.
    """
    facts, verdicts, rules = list(versions), verdicts or {}, rules or Rules()
    resolutions: dict[str, Resolution] = {}
    for fact in facts:
        if excluded := _exclusion(fact, facts, verdicts, now):
            resolutions[fact.id] = excluded
    if not many:
        resolutions |= _corrected_by_source([f for f in facts if f.id not in resolutions])
    values, unproven = _proven_values([f for f in facts if f.id not in resolutions], verdicts)
    resolutions |= unproven
    base = held_by_base(facts, many=many)
    for group in [[value] for value in values] if many else [values]:
        resolutions |= _resolve_values(group, base, rules)
    if not any(resolution.status in CURRENT for resolution in resolutions.values()):
        resolutions |= _archival(facts, resolutions)
    return {fact.id: replace(resolutions[fact.id], due_at=_due(fact, now)) for fact in facts}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _due(fact: Fact, now: datetime) -> datetime | None:
    """The next moment when time alone may change the status of a version."""
    update = fact.update
    days = [_midnight(day) for day in (update.valid_from, update.valid_to) if day]
    times = [*days, fact.provenance.soak_until]
    return min((moment for moment in times if moment and moment > now), default=None)


def _exclusion(
    fact: Fact, facts: list[Fact], verdicts: Mapping[str, Verdict], now: datetime
) -> Resolution | None:
    """Why a claim does not count, whatever the other values are; None if it counts."""
    verdict = verdicts.get(fact.object.id)
    if fact.update.withdrawn:
        reason = f"{fact.update.source} takes it back"
        return Resolution(status=FactStatus.NOTICE, reason=reason)
    if verdict and verdict.ruling in (Ruling.WITHDRAWN, Ruling.REJECTED):
        reason = f"{verdict.ruling.value} by {verdict.who}: {verdict.why}"
        return Resolution(status=FactStatus(verdict.ruling.value), reason=reason)
    return (
        _withdrawal(fact, facts, now)
        or _outside_validity(fact, now)
        or _not_yet_accepted(fact, verdict, now)
    )


def _withdrawal(fact: Fact, facts: list[Fact], now: datetime) -> Resolution | None:
    """The source has taken the claim back."""
    notices = [other for other in facts if _is_taken_back(fact, other, facts, now)]
    if not notices:
        return None
    notice = min(notices, key=lambda other: (other.update.event_time, other.id))
    reason = f"withdrawn by {fact.update.source} in revision {notice.update.revision}"
    reason += f"; its weights stay in base {fact.baked_in}" if fact.baked_in else ""
    return Resolution(status=FactStatus.WITHDRAWN, reason=reason)


def _outside_validity(fact: Fact, now: datetime) -> Resolution | None:
    """The claim is not valid yet, or no longer."""
    update = fact.update
    if update.valid_from and _midnight(update.valid_from) > now:
        return Resolution(status=FactStatus.FUTURE, reason=f"holds from {update.valid_from}")
    if update.valid_to and _midnight(update.valid_to) <= now:
        return Resolution(status=FactStatus.EXPIRED, reason=f"held until {update.valid_to}")
    return None


def _not_yet_accepted(fact: Fact, verdict: Verdict | None, now: datetime) -> Resolution | None:
    """The claim still soaks, or waits for an operator's approval."""
    if fact.known or (verdict and verdict.ruling in (Ruling.APPROVED, Ruling.PINNED)):
        return None
    soak_until = fact.provenance.soak_until
    if soak_until and soak_until > now:
        reason = f"soaks until {soak_until:%Y-%m-%d %H:%M}"
        return Resolution(status=FactStatus.SOAKING, reason=reason)
    if fact.provenance.hold:
        reason = f"{fact.provenance.hold}; `factd facts approve {fact.id}` lets it pass"
        return Resolution(status=FactStatus.UNPROVEN, reason=reason)
    return None


def takes_back(notice: Fact, fact: Fact) -> bool:
    """Whether a source's notice takes back one of its claims.

    A claim that the source makes in the same revision as the notice stays.
    """
    one, other = notice.update, fact.update
    later = (one.event_time, one.revision != other.revision) > (other.event_time, False)
    return (
        one.withdrawn and one.source == other.source and one.object.id == other.object.id and later
    )


def _is_taken_back(fact: Fact, notice: Fact, facts: list[Fact], now: datetime) -> bool:
    """Whether a notice has taken effect on a claim that the source has not repeated since.

    A claim that is taken back while it soaks never counts. A claim that already counted goes
    only when the notice has soaked too. Neither vandalism nor its revert can therefore change
    anything on its own day.
    """
    if not takes_back(notice, fact):
        return False
    update, soak_until = fact.update, fact.provenance.soak_until
    claim = (update.source, update.object.id, update.valid_from, update.valid_to)
    repeated = any(
        not f.update.withdrawn
        and (f.update.source, f.update.object.id, f.update.valid_from, f.update.valid_to) == claim
        and f.update.event_time > notice.update.event_time
        for f in facts
    )
    while_soaking = soak_until is not None and notice.update.event_time < soak_until
    notice_until = notice.provenance.soak_until
    return not repeated and (while_soaking or notice_until is None or notice_until <= now)


def _corrected_by_source(facts: list[Fact]) -> dict[str, Resolution]:
    """The claims that their own source corrected.

    Of a source's claims that start on one day, only the latest counts.
    """
    groups: dict[tuple[str, bool, date | None], list[Fact]] = {}
    for fact in facts:
        key = (fact.update.source, fact.known, fact.update.valid_from)
        groups.setdefault(key, []).append(fact)
    resolutions = {}
    for claims in groups.values():
        last = max(fact.update.event_time for fact in claims)
        objects = {fact.object.id for fact in claims if fact.update.event_time == last}
        for fact in claims:
            if fact.object.id not in objects:
                reason = f"{fact.update.source} said otherwise later"
                status = FactStatus.SUPERSEDED
                resolutions[fact.id] = Resolution(status=status, reason=reason)
    return resolutions


def _proven_values(
    facts: list[Fact], verdicts: Mapping[str, Verdict]
) -> tuple[list[ClaimedValue], dict[str, Resolution]]:
    """The values that enough sources claim, and the resolutions of the claims of other values."""
    claims: dict[str, list[Fact]] = {}
    for fact in facts:
        claims.setdefault(fact.object.id, []).append(fact)
    values: list[ClaimedValue] = []
    unproven: dict[str, Resolution] = {}
    for object_, group in claims.items():
        value = ClaimedValue(object=object_, claims=tuple(group), verdict=verdicts.get(object_))
        count = len(value.sources)
        needed = min(1 if fact.known else fact.provenance.needs_sources for fact in group)
        if needed <= count or value.verdict:
            values.append(value)
            continue
        reason = f"{count} of {needed} sources say so"
        unproven |= {f.id: Resolution(status=FactStatus.UNPROVEN, reason=reason) for f in group}
    return values, unproven


def held_by_base(facts: Iterable[Fact], *, many: bool) -> dict[str, int]:
    """The objects that the base model holds, each with the base that it was baked into.

    Base 0 is the original model. The result has at most one object: the one that was baked
    last, or else the newest one of the original model. With `many` it has all objects of both
    kinds.
    """
    held = [f for f in facts if (f.known or f.baked_in) and not f.update.withdrawn]
    held.sort(key=lambda f: (f.baked_in or 0, _start(f), f.update.event_time, f.id))
    return {fact.object.id: fact.baked_in or 0 for fact in (held if many else held[-1:])}


def _resolve_values(
    values: list[ClaimedValue], base: Mapping[str, int], rules: Rules
) -> dict[str, Resolution]:
    """The resolutions of all claims of competing values.

    One value holds. Before it there may be better values that contradict each other.
    """
    resolutions: dict[str, Resolution] = {}
    left = sorted(values, key=lambda value: (_measures(value, rules), value.object), reverse=True)
    while left:
        best = [value for value in left if _ranking(value, rules) == _ranking(left[0], rules)]
        left = left[len(best) :]
        if len(best) == 1:
            resolutions |= _resolve_winner(best[0], base)
            for value in left:
                resolutions |= _resolve_loser(value, best[0], rules)
            break
        ids = " and ".join(sorted(value.holder.id for value in best))
        reason = f"{ids} say different things with the same times"
        conflict = Resolution(status=FactStatus.CONFLICTING, reason=reason)
        resolutions |= {fact.id: conflict for value in best for fact in value.claims}
    return resolutions


def _resolve_winner(value: ClaimedValue, base: Mapping[str, int]) -> dict[str, Resolution]:
    """The resolutions of all claims of the winner: one represents it, the others agree with it."""
    holder = value.holder
    agrees = Resolution(status=FactStatus.SUPERSEDED, reason=f"agrees with {holder.id}")
    return {fact.id: agrees for fact in value.claims} | {holder.id: _resolve_holder(value, base)}


def _resolve_holder(value: ClaimedValue, base: Mapping[str, int]) -> Resolution:
    """The resolution of the claim that represents the value: known already, or to be written."""
    holder = value.holder
    if value.object in base or (holder.known and not any(base.values())):
        number = base.get(value.object, 0)
        reason = f"baked into base {number}" if number else ""
        return Resolution(status=FactStatus.KNOWN, reason=reason)
    if holder.base_answer is BaseAnswer.KNOWN:
        return Resolution(status=FactStatus.KNOWN, reason="the base model says so already")
    active = holder.status is FactStatus.ACTIVE
    status = FactStatus.ACTIVE if active else FactStatus.PENDING
    change = Change.REPLACEMENT if base else Change.ASSOCIATION
    return Resolution(status=status, change=change)


def _resolve_loser(
    value: ClaimedValue, winner: ClaimedValue, rules: Rules
) -> dict[str, Resolution]:
    pairs = zip(_ranking(value, rules), _ranking(winner, rules), strict=True)
    rule = next((mine[0] for mine, other in pairs if mine[1] != other[1]), "recency")
    label = next(iter(winner.holder.object.labels.values()))
    reason = f"superseded by {winner.holder.id} ({label}), by {rule}"
    return {f.id: Resolution(status=FactStatus.SUPERSEDED, reason=reason) for f in value.claims}


def _archival(facts: list[Fact], resolutions: Mapping[str, Resolution]) -> dict[str, Resolution]:
    """The last value that held, if it ended without a successor; empty if no claim expired."""
    ended = [fact for fact in facts if resolutions[fact.id].status is FactStatus.EXPIRED]
    if not ended:
        return {}
    last = max(ended, key=lambda fact: (fact.update.valid_to or date.max, fact.id))
    reason = f"{resolutions[last.id].reason}; no new object is known, and an edit needs one"
    return {last.id: replace(resolutions[last.id], reason=reason, change=Change.ARCHIVAL)}
