"""kill -9 at every legal status change: the next start ends in the state of an undisturbed run."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import open_app
from factd.store import operations, queries
from factd.store.model.handovers import HANDOVER_MOVES
from factd.store.model.operations import TASK_MOVES
from factd.store.model.releases import CANDIDATE_MOVES, RELEASE_MOVES, Candidate, CandidateStatus
from support import killed_processes
from support.killed_processes import KILLED, KillPoint, copy_state, exit_code, state
from support.terminal import FEED, Operator
from support.world import jsonl

TABLES: dict[str, Mapping[Any, tuple[Any, ...]]] = {
    "candidates": CANDIDATE_MOVES,
    "releases": RELEASE_MOVES,
    "tasks": TASK_MOVES,
    "handovers": HANDOVER_MOVES,
}
MOVES = [
    (table, before.value, after.value)
    for table, moves in TABLES.items()
    for before, afters in moves.items()
    for after in afters
]


@dataclass(frozen=True)
class Scenario:
    """A state and a program that changes statuses from it; the program restarts after a kill."""

    prepare: Callable[[Operator], None]
    program: Callable[[Path], None]
    moves: tuple[tuple[str, str, str], ...]


def waits_in_the_inbox(operator: Operator) -> None:
    inbox = operator.folder / "inbox"
    inbox.mkdir()
    jsonl(inbox / "feed.jsonl", FEED)


def is_bound_to_fail(operator: Operator) -> None:
    waits_in_the_inbox(operator)
    path = operator.folder / "factd.toml"
    path.write_text(path.read_text().replace("edit_generation = 0.0", "edit_generation = 1.0"))


def has_nowhere_to_publish(operator: Operator) -> None:
    operator.ingest(FEED)
    operator("edit")
    folder = operator.folder / "published" / "versions"
    folder.mkdir(parents=True)
    (folder / "1.tmp").write_text("in the way")


def is_live(operator: Operator) -> None:
    operator.ingest(FEED)
    operator("edit", "--publish")


def is_accepted(operator: Operator) -> None:
    operator.ingest(FEED)
    operator("edit")


def task_waits(operator: Operator) -> None:
    operator.ingest(FEED)
    app = open_app(operator.folder / "factd.toml")
    with app.ledger.begin() as session:
        operations.tasks.add_task(session, "edit", {}, now=app.ledger.now())
    app.ledger.store.close()


def is_handed_to(command: str, *, attempts: int = 3) -> Callable[[Operator], None]:
    """A live release and a `command` server, which writes its input to a file or fails."""

    def prepare(operator: Operator) -> None:
        is_live(operator)
        path = operator.folder / "factd.toml"
        shell = f'command = ["sh", "-c", "{command}"]\nunasked = true\nkeep = ["PATH", "PWD"]\n'
        tables = f'\n[servers]\nattempts = {attempts}\n[servers.it]\nkind = "command"\n{shell}'
        path.write_text(path.read_text() + tables)

    return prepare


def left_at(status: CandidateStatus) -> Callable[[Operator], None]:
    def prepare(operator: Operator) -> None:
        waits_in_the_inbox(operator)
        app = open_app(operator.folder / "factd.toml")
        path = (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)
        with app.ledger.begin() as session:
            made: Candidate = queries.releases.create_candidate(
                session, batch_id="left", fact_ids=[], now=app.ledger.now()
            )
            for before, after in pairwise(path):
                if before is status:
                    break
                queries.releases.move_candidate(
                    session, made.id, before, after, now=app.ledger.now()
                )
        app.ledger.store.close()

    return prepare


SCENARIOS = (
    Scenario(
        waits_in_the_inbox,
        killed_processes.cycle,
        (
            ("tasks", "waiting", "running"),
            ("candidates", "planned", "solving"),
            ("candidates", "solving", "checking"),
            ("candidates", "checking", "accepted"),
            ("releases", "accepted", "publishing"),
            ("releases", "live", "retired"),
            ("releases", "publishing", "live"),
            ("tasks", "running", "done"),
        ),
    ),
    Scenario(is_bound_to_fail, killed_processes.cycle, (("candidates", "checking", "rejected"),)),
    *(
        Scenario(
            left_at(status), killed_processes.cycle, (("candidates", status.value, "abandoned"),)
        )
        for status in (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)
    ),
    Scenario(
        has_nowhere_to_publish,
        killed_processes.cycle,
        (("releases", "publishing", "accepted"), ("tasks", "running", "failed")),
    ),
    Scenario(
        is_live,
        killed_processes.roll_back,
        (
            ("releases", "live", "withdrawn"),
            ("releases", "retired", "publishing"),
            ("releases", "withdrawn", "publishing"),
        ),
    ),
    Scenario(is_accepted, killed_processes.refuse, (("releases", "accepted", "withdrawn"),)),
    Scenario(
        is_handed_to("echo $FACTD_RELEASE > served"),
        killed_processes.hand_over,
        (("handovers", "waiting", "sending"), ("handovers", "sending", "done")),
    ),
    Scenario(
        is_handed_to("exit 1", attempts=1),
        killed_processes.hand_over,
        (("handovers", "sending", "failed"),),
    ),
    Scenario(
        is_handed_to("exit 1", attempts=2),
        killed_processes.hand_over,
        (("handovers", "sending", "waiting"),),
    ),
    Scenario(
        is_handed_to("echo $FACTD_RELEASE > served"),
        killed_processes.roll_back_and_hand_over,
        (("handovers", "waiting", "superseded"),),
    ),
    Scenario(task_waits, killed_processes.stop_in_the_middle, (("tasks", "running", "waiting"),)),
)
QUICK = {("releases", "publishing", "live"), ("candidates", "checking", "accepted")}


def test_every_legal_move_has_its_scenario() -> None:
    assert sorted(move for scenario in SCENARIOS for move in scenario.moves) == sorted(MOVES)


def cases() -> list[Any]:
    found = []
    for number, scenario in enumerate(SCENARIOS):
        for move in scenario.moves:
            for when in ("before", "after"):
                quick = move in QUICK and when == "after"
                name = f"{when} {move[0]} {move[1]}-{move[2]}"
                marks = () if quick else (pytest.mark.slow,)
                found.append(pytest.param(number, move, when, id=name, marks=marks))
    return found


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, dict[str, Any]]]:
    return {}


def prepared(
    number: int, templates: dict[int, tuple[Path, dict[str, Any]]], root: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A scenario's state with its values computed, and the state after an undisturbed run.

    Both are made once for each scenario.
    """
    if number not in templates:
        scenario, folder = SCENARIOS[number], root.mktemp(f"scenario{number}")
        operator = Operator(folder / "state")
        scenario.prepare(operator)
        whole = copy_state(folder / "state", folder / "whole")
        assert exit_code(scenario.program, whole) == 0
        for name in ("values", "moments", "answers"):
            kept = whole.parent / "state" / "workspace" / name
            if kept.exists():
                shutil.copytree(
                    kept, folder / "state" / "state" / "workspace" / name, dirs_exist_ok=True
                )
        templates[number] = (folder / "state", state(whole.parent))
    return templates[number]


@pytest.mark.parametrize(("number", "move", "when"), cases())
def test_killed_at_a_status_change_factd_ends_where_it_would_have(
    number: int,
    move: tuple[str, str, str],
    when: str,
    templates: dict[int, tuple[Path, dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    template, wanted = prepared(number, templates, tmp_path_factory)
    config, program = copy_state(template, tmp_path / "state"), SCENARIOS[number].program
    table, before, after = move
    kill = KillPoint(table=table, before=before, after=after, when=when)
    assert exit_code(program, config, kill) == KILLED
    assert exit_code(program, config) == 0
    if move == ("tasks", "running", "waiting"):
        wanted = {
            **wanted,
            "open": state(config.parent)["open"],
        }  # the killed process had taken it
    assert state(config.parent) == wanted
