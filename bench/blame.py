"""Blame: 64 facts of which three are bad. How many solves until they are found, and are the other 61 published?

    factd bench blame [--json]

With the demo's settings and gates, through the whole edit. (A ranking that knows nothing: tests/unit/daemon/editing/test_blame.py.)
What is left out of the feed and what is bad are countries that had a currency of their own: where ten of eleven that paid in
French francs change over, the eleventh is taken along, and the gate refuses the batch rightly, whatever else is in it.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factd.bench.disasters import Lab, in_release, ingested, set_aside, tamper, updates
from factd.bench.measure import document
from factd.bench.planted import Update
from factd.daemon.tasks.edit import plan_and_edit
from factd.reference import paths

COUNT, BAD = 64, 3
HOW = "times 3"  # the values of the bad facts, against what they should be


def run() -> dict[str, Any]:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(Path(name), changes=())
        lab.prepare()
        feed = updates(paths.FEED)
        apart = random.Random(0).sample(alone(feed, updates(paths.FACTS)), len(feed) - COUNT + BAD)
        bad = {update["revision"] for update in apart[:BAD]}
        batch = [update for update in feed if update not in apart[BAD:]]
        rows = [as_it_is(lab, batch, bad)]
    return document("blame", "cpu", rows, facts=COUNT, bad=BAD)


def alone(feed: Sequence[Update], world: Sequence[Update]) -> list[Update]:
    """The changes of a value that no other subject of the feed had."""
    held = {(u["subject"]["id"], u["relation"]): u["object"]["id"] for u in world}
    old = [held.get((u["subject"]["id"], u["relation"])) for u in feed]
    counted = Counter(old)
    return [u for u, value in zip(feed, old, strict=True) if value and counted[value] == 1]


def as_it_is(lab: Lab, batch: list[Update], bad: set[str]) -> dict[str, Any]:
    """The whole edit, to the release."""
    started = time.monotonic()
    with lab.app(own_values=True) as app:
        ingested(app, batch)
        tamper(app, dict.fromkeys(bad, HOW))
        found = plan_and_edit(app, who="bench", why="blame")
        held = in_release(app, found.release)
        aside = set(set_aside(app))
    return row("ranked by evidence", aside, bad, found.solves, len(held - bad), started)


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
