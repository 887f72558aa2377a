"""Blame: 64 facts of which three are bad. How many solves until they are found, and are the other 61 published?

    factd bench blame [--json]

Once as it is, with what is measured about each fact; and once with a ranking that knows nothing, by trials alone.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.disasters import Lab, in_release, ingested, set_aside, tamper, writable
from bench.measure import document
from bench.planted import Update
from daemon import candidates, editing, narrowing
from daemon.bootstrap import Factd
from daemon.suspects import Suspects, suspects
from store import fact_queries

COUNT, BAD = 64, 3
HOW = "times 3"  # the values of the bad facts, against what they should be


def run() -> dict[str, Any]:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(Path(name))
        lab.prepare()
        able = writable(lab)
        batch = random.Random(0).sample(able, COUNT)
        bad = {u["revision"] for u in random.Random(1).sample(batch, BAD)}
        rows = [as_it_is(lab, batch, bad), knowing_nothing(lab, batch, bad)]
    return document("blame", "cpu", rows, facts=COUNT, bad=BAD)


def as_it_is(lab: Lab, batch: list[Update], bad: set[str]) -> dict[str, Any]:
    """The whole edit, to the release."""
    started = time.monotonic()
    with lab.factd(own_values=True) as factd:
        ingested(factd, batch)
        tamper(factd, dict.fromkeys(bad, HOW))
        found = editing.edit(factd, who="bench", why="blame")
        held = in_release(factd, found.release)
        aside = set(set_aside(factd))
    return row("ranked by evidence", aside, bad, found.solves, len(held - bad), started)


def knowing_nothing(lab: Lab, batch: list[Update], bad: set[str]) -> dict[str, Any]:
    """The search alone, with a shuffled ranking and no evidence of the facts' own."""
    started = time.monotonic()
    with lab.factd(own_values=True) as factd:
        ingested(factd, batch)
        tamper(factd, dict.fromkeys(bad, HOW))
        case = case_of_all(factd)
        found = candidates.examined(factd, case, candidates.solved(factd, case.batch))
        known = suspects(factd, case, found)
        order = random.Random(2).sample(known.ranked, len(known.ranked))
        blind = Suspects(ranked=tuple(order), direct=(), evidence=known.evidence)
        blamed = narrowing.blamed(factd, case, found, blind, 24)
        revisions = {fact.id: fact.update.revision for fact in case.facts}
        rest = narrowing.without(factd, case, frozenset(blamed.guilty))
        said = candidates.examined(factd, rest, candidates.solved(factd, rest.batch)).decision
    guilty = {revisions[id_] for id_ in blamed.guilty}
    published = len(rest.facts) if said.accepted else 0
    return row("by trials alone", guilty, bad, blamed.solves, published, started)


def case_of_all(factd: Factd) -> candidates.Case:
    """The case of everything that waits."""
    with factd.store.begin() as session:
        facts = fact_queries.candidate_set(session)
    return candidates.case_of(factd, facts, candidates.live_of(factd))


def row(
    name: str, found: set[str], bad: set[str], solves: int, published: int, started: float
) -> dict[str, Any]:
    """A line of the table."""
    return {
        "way": name,
        "bad facts found": len(found & bad),
        "others blamed": len(found - bad),
        "solves": solves,
        "published": published,
        "seconds": time.monotonic() - started,
    }
