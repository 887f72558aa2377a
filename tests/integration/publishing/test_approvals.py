"""Some batches wait until an operator approves or refuses them.

An approval holds for one content and ends when a fact of the batch is taken back. A refused batch
is not written again.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from factd.daemon.app import App, open_app
from factd.daemon.approvals import doubts
from factd.daemon.runtime.worker import WorkerProcess
from factd.daemon.tasks import edit
from factd.store import operations, queries
from factd.store.model.releases import ReleaseStatus
from support.terminal import FEED, Operator


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    found = Operator(tmp_path)
    waits(found, 'when = "always"')
    yield found


def waits(operator: Operator, line: str) -> None:
    path = operator.folder / "factd.toml"
    text = path.read_text().partition("\n[approvals]\n")[0]
    path.write_text(f"{text}\n[approvals]\n{line}\n")


def app(operator: Operator) -> App:
    return open_app(operator.folder / "factd.toml")


def cycle(operator: Operator) -> str:
    """What a worker says of the next edit."""
    found = app(operator)
    with found.ledger.begin() as session:
        task = operations.tasks.add_task(session, "edit", {}, now=found.ledger.now())
    assert WorkerProcess(found).run_next_task()
    with found.ledger.begin() as session:
        said = operations.tasks.task(session, task.id).detail
    found.ledger.store.close()
    return said


def statuses(operator: Operator) -> dict[int, str]:
    return {row["number"]: row["status"] for row in operator("releases", "list")}


def test_an_approved_batch_is_published_without_another_edit(operator: Operator) -> None:
    operator.ingest(FEED)
    assert "release 1 waits: every batch waits for an approval" in cycle(operator)
    assert "`factd approve 1" in operator.refused("releases", "publish", "1")
    assert operator("approve", "1", "--why", "looks right")["status"] == "accepted"
    assert cycle(operator) == "release 1 is live"
    assert statuses(operator) == {1: "live", 0: "retired"}
    assert operator("releases", "publish", "1")["status"] == "live"


def test_an_approval_is_for_one_content_only(operator: Operator) -> None:
    operator.ingest(FEED[:1])
    cycle(operator)
    operator("approve", "1", "--why", "fine")
    operator.ingest(FEED[1:], "more.jsonl")
    assert "release 2 waits" in cycle(operator)  # with another fact it is another batch
    assert statuses(operator) == {2: "accepted", 1: "withdrawn", 0: "live"}


def test_a_refused_batch_is_withdrawn_and_not_written_again(operator: Operator) -> None:
    operator.ingest(FEED)
    cycle(operator)
    operator("refuse", "1", "--why", "the source is wrong")
    assert statuses(operator) == {1: "withdrawn", 0: "live"}
    assert "refused this batch (the source is wrong)" in cycle(operator)
    assert "release 1 is withdrawn" in operator.refused("approve", "1")


def test_what_was_approved_does_not_go_out_when_a_fact_of_it_is_taken_back(
    operator: Operator,
) -> None:
    operator.ingest(FEED)
    cycle(operator)
    operator("approve", "1")
    fact = operator("releases", "show", "1")["facts"][0]
    operator("facts", "withdraw", fact, "--why", "vandalism")
    assert f"fact {fact} is withdrawn now" in operator.refused("releases", "publish", "1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('when = "large"\nlarge_facts = 2', "2 facts change, 2 or more wait"),
        ('when = "large"\ntrust_below = 60', "has trust 50, below 60"),
        ('when = "large"', ""),
        ('when = "none"', ""),
    ],
)
def test_large_batches_and_those_of_which_little_is_known_wait(
    operator: Operator, line: str, said: str
) -> None:
    waits(operator, line)
    operator.ingest(FEED)
    outcome = cycle(operator)
    assert said in outcome if said else outcome == "release 1 is live"
    found = app(operator)
    assert [release.number for release in doubts.waiting(found.ledger, found.config.approvals)] == (
        [1] if said else []
    )
    found.ledger.store.close()


def test_the_daemon_says_what_waits_without_asking_a_worker(operator: Operator) -> None:
    operator.ingest(FEED)
    cycle(operator)
    found = app(operator)
    assert "waits" in edit.waits_for_approval(found.ledger, found.config.approvals)
    with found.ledger.begin() as session:
        assert queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING) == []
    found.ledger.store.close()
