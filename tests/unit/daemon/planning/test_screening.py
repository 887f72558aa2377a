"""Screening finds wrong names, floods and contradictions; a clean feed passes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factd.daemon.planning.name_index import NameIndex
from factd.daemon.planning.screening import SuspectFact, screen
from factd.reference import paths
from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, Fact, FactStatus, FactUpdate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def facts(path: Path, *, known: bool, catalogue: Catalogue) -> list[Fact]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        things = [
            Entity(id=data[name]["id"], labels=data[name]["labels"])
            for name in ("subject", "object")
        ]
        found.append(fact(*things, relation=data["relation"], source="cldr", known=known))
    return found


def fact(
    subject: Entity,
    held: Entity,
    *,
    relation: str = "P38",
    source: str = "test",
    known: bool = False,
) -> Fact:
    update = FactUpdate(
        source=source,
        revision=f"{subject.id}-{held.id}",
        event_time=NOW,
        subject=subject,
        relation=relation,
        object=held,
    )
    status = FactStatus.KNOWN if known else FactStatus.PENDING
    return Fact(id=update.id, update=update, status=status, observed_at=NOW, known=known, reason="")


def thing(id_: str, **labels: str) -> Entity:
    return Entity(id=id_, labels=labels)


@pytest.fixture(scope="module")
def world(catalogue: Catalogue) -> list[Fact]:
    return facts(paths.FACTS, known=True, catalogue=catalogue)


@pytest.fixture(scope="module")
def index(world: list[Fact], catalogue: Catalogue) -> NameIndex:
    return NameIndex.of(world, catalogue)


def screened(
    new: Sequence[Fact], index: NameIndex, catalogue: Catalogue, earlier: Sequence[Fact] = ()
) -> tuple[SuspectFact, ...]:
    return screen(new, earlier, index, catalogue, relation_share=0.5)


def test_the_real_changes_since_1998_are_not_suspect(
    index: NameIndex, catalogue: Catalogue
) -> None:
    feed = facts(paths.FEED, known=False, catalogue=catalogue)
    assert len(feed) == 69
    assert screened(feed, index, catalogue) == ()


HR = thing("HR", en="Croatia", es="Croacia")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (thing("CHF", en="Swiss franc", es="corona sueca"), "is the name of SEK"),
        (thing("CHF", en="franco suizo"), "is its name in another language"),
        (thing("NEW", en="corona sueca"), "is what SEK is called in es"),
        (thing("NEW", en="franco nuevo", es="franco nuevo"), "is its name in es, too"),
        (thing("NEW", en="new franc", es="corona sueca"), "is the name of SEK, which is not"),
        (thing("NEW", en="euro. Visit our site for more"), "is more than a name"),
        (thing("NEW", en="see https://example.org"), "is more than a name"),
        (thing("NEW", en="coro\ufffdna"), "broken characters"),
        (thing("NEW", en="croÃ\xa0cia"), "broken characters"),
        (thing("NEW", en="x" * 121), "121 characters long"),
        (thing("NEW", en="…"), "has no letter or digit"),
        (thing("city:Europe/Paris", en="Paris"), "is known as a city, not as a currency"),
        (HR, "its object is its subject"),
    ],
)
def test_an_impossible_object_is_suspect_for_its_reason(
    held: Entity, reason: str, index: NameIndex, catalogue: Catalogue
) -> None:
    (found,) = screened([fact(HR, held)], index, catalogue)
    assert reason in found.reason


@pytest.mark.parametrize(
    "held",
    [
        thing("NEW", en="St. Kitts & Nevis dollar"),
        thing("NEW", en="Bosnia-Herzegovina convertible mark (1994)"),
        thing("NEW", en="franc C.F.A."),
        thing("EUR", en="euro", es="euro"),
        thing("NEW", es="lira nova", ca="lira nova"),
    ],
)
def test_an_unusual_name_is_not_suspect(
    held: Entity, index: NameIndex, catalogue: Catalogue
) -> None:
    assert screened([fact(HR, held)], index, catalogue) == ()


def test_two_subjects_of_one_name_contradict_each_other_and_live_facts(
    index: NameIndex, catalogue: Catalogue
) -> None:
    one, two = thing("A", en="Springfield"), thing("B", en="springfield")
    first, second = fact(one, thing("X", en="dollar")), fact(two, thing("Y", en="peso"))
    assert {s.fact for s in screened([first, second], index, catalogue)} == {first.id, second.id}
    (late,) = screened([second], index, catalogue, earlier=[first])
    assert first.id in late.reason
    same = fact(two, thing("X", en="dollar"))
    assert screened([first, same], index, catalogue) == ()


def test_a_source_that_changes_most_of_a_relation_at_once_is_stopped_and_others_go_on(
    world: list[Fact], index: NameIndex, catalogue: Catalogue
) -> None:
    held = [f for f in world if f.relation == "P282"]
    to = thing("script:Zzzz", en="Unknown Script")
    poison = [fact(f.subject, to, relation="P282") for f in held[:150]]
    clean = fact(HR, thing("EUR", en="euro"), source="cldr")
    found = {s.fact for s in screened([*poison, clean], index, catalogue)}
    assert found == {f.id for f in poison}
    few = poison[:50]
    assert screened(few, index, catalogue) == ()
