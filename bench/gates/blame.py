"""Blame: of 64 facts three are bad. How many solves find them, and are the other 61 published?

    factd bench blame [--json]

The batch goes through the whole edit, with the settings and gates of the demo. (For a ranking
without any evidence see tests/unit/daemon/editing/test_blame.py.) The facts that are left out of
the feed, and the bad ones, are countries that had a currency of their own. Reason: if ten of the
eleven countries that paid in French francs change their currency, the eleventh changes with them,
and the gate rightly refuses the batch, whatever else is in it.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factd.bench.gates.disasters import (
    PreparedState,
    damage_values,
    in_release,
    ingest_batch,
    set_aside,
    updates,
)
from factd.bench.gates.planted import Update
from factd.bench.measure import document
from factd.daemon.tasks.edit import plan_and_edit
from factd.reference import paths

COUNT, BAD = 64, 3
DAMAGE = "times 3"  # the values of the bad facts are three times too long


def run() -> dict[str, Any]:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        lab = PreparedState(Path(name), changes=())
        lab.prepare()
        feed = updates(paths.FEED)
        apart = random.Random(0).sample(
            with_unique_old_value(feed, updates(paths.FACTS)), len(feed) - COUNT + BAD
        )
        bad = {update["revision"] for update in apart[:BAD]}
        batch = [update for update in feed if update not in apart[BAD:]]
        rows = [whole_edit(lab, batch, bad)]
    return document("blame", "cpu", rows, facts=COUNT, bad=BAD)


def with_unique_old_value(feed: Sequence[Update], world: Sequence[Update]) -> list[Update]:
    """The changes whose old object no other subject of the feed had."""
    held = {(u["subject"]["id"], u["relation"]): u["object"]["id"] for u in world}
    old = [held.get((u["subject"]["id"], u["relation"])) for u in feed]
    counted = Counter(old)
    return [u for u, value in zip(feed, old, strict=True) if value and counted[value] == 1]


def whole_edit(lab: PreparedState, batch: list[Update], bad: set[str]) -> dict[str, Any]:
    """Run the whole edit of a batch, up to the release. Returns a row of the table."""
    started = time.monotonic()
    with lab.app(own_values=True) as app:
        ingest_batch(app, batch)
        damage_values(app, dict.fromkeys(bad, DAMAGE))
        found = plan_and_edit(app, who="bench", why="blame")
        held = in_release(app, found.release)
        aside = set(set_aside(app))
    return row("ranked by evidence", aside, bad, found.solves, len(held - bad), started)


def row(
    name: str, found: set[str], bad: set[str], solves: int, published: int, started: float
) -> dict[str, Any]:
    """A row of the table. found, bad: revisions; started: seconds of the monotonic clock."""
    return {
        "way": name,
        "bad facts found": len(found & bad),
        "others blamed": len(found - bad),
        "solves": solves,
        "published": published,
        "seconds": time.monotonic() - started,
    }
