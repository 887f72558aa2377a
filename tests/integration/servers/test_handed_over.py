"""factd hands releases over HTTP to fakes of vLLM and SGLang that run a real model.

When a server goes wrong, factd finds out, and the previous release serves again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import App, open_app
from factd.daemon.artefacts import proof as proofs
from factd.daemon.publishing import publish, version_files
from factd.daemon.rollout import outbox, watch
from factd.store import operations
from factd.store.model.handovers import Handover, HandoverStatus
from support.fakes.engine import FakeEngine
from support.fakes.serving_engines import FakeSglang, FakeVllm
from support.paths import GOLDEN
from support.terminal import FEED, Operator

BASE = GOLDEN / "llama" / "model"
STRONG = (
    ("second_moment_weight = 30.0", "second_moment_weight = 10.0\nclamp_norm_factor = 10.0"),
    ("v_lr = 0.3", "v_lr = 1.0"),
    ("v_num_grad_steps = 20", "v_num_grad_steps = 40"),
)
KINDS = {
    "vllm adapter": 'kind = "vllm"\n',
    "vllm reload": 'kind = "vllm"\nmode = "reload"\nmodel = "base"\n',
    "sglang weights": 'kind = "sglang"\nmodel = "base"\n',
    "sglang adapter": 'kind = "sglang"\nmode = "adapter"\nmodel = "base"\n',
}
WRONG = ("old weights", "stale cache", "wrong version", "wrong weights", "half loaded")
BROKEN = ("500", "hang", "crash", "away")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Two releases that say different things, as checkpoints and adapters."""
    operator = Operator(tmp_path_factory.mktemp("servers") / "world")
    file = operator.folder / "factd.toml"
    text = file.read_text() + "\n[publish.adapter]\n"
    for before, after in STRONG:
        text = text.replace(before, after)
    file.write_text(text)
    for number, row in enumerate(FEED):
        operator.ingest([row], f"{number}.jsonl")
        operator("edit", "--publish")
    return operator


@dataclass
class Served:
    """One engine, and the factd that hands releases to it."""

    app: App
    engine: FakeEngine
    ahead: list[timedelta]  # by which the clock of this factd is ahead

    def bring(self, number: int) -> Handover:
        """Make a release live and hand it over, once."""
        publish.publish(
            self.app.ledger,
            self.app.paths,
            self.app.versions,
            self.app.fleet,
            self.app.config.approvals,
            number,
        )
        return self.turn()

    def turn(self) -> Handover:
        outbox.hand_over_due(self.app.ledger, self.app.paths, self.app.versions, self.app.fleet)
        with self.app.ledger.read() as session:
            found = operations.handovers.newest(session, "it")
        assert found is not None
        return found

    @property
    def is_whole(self) -> bool:
        """It takes checkpoints, not adapters."""
        return getattr(self.app.fleet.servers["it"].settings, "mode", "") in ("weights", "reload")

    def misbehave(self, how: str, *, times: int | None = None) -> None:
        """The engine, from now on; where it loads something else, it is what the base says."""
        adapter = self.app.versions.folder(0) / "adapter"
        self.engine.misbehave(how, instead=BASE if self.is_whole else adapter, times=times)

    def is_right_after_all(self, how: str) -> bool:
        """Whether the engine gives the right answers although it misbehaves.

        Some engines keep answers apart by path, and half of the tensors can be all that an adapter
        changes.
        """
        if self.newest_of(2).status is not HandoverStatus.DONE:
            return False
        assert how in ("stale cache", "half loaded") and not self.is_whole and self.says() == 2
        return True

    def hurry(self, so: bool) -> None:
        """Wait for a load for a second only."""
        it = self.app.fleet.servers["it"]
        settings = it.settings.model_copy(update={"load_seconds": 1.0 if so else 60.0})
        vars(self.app.fleet)["servers"] = {"it": replace(it, settings=settings)}

    def newest_of(self, number: int) -> Handover:
        with self.app.ledger.read() as session:
            found = operations.handovers.newest_of_release(session, "it", number)
        assert found is not None
        return found

    def says(self) -> int | None:
        """The release whose answers users get now, by asking; None: no release's."""
        server = self.app.fleet.servers["it"].connect(self.app.fleet.servers["it"].settings)
        for number in (1, 2):
            proof = proofs.read(self.app.versions.folder(number))
            assert proof and any(q.is_telling for q in proof.questions)
            wanted = proofs.expected_answers(number, proof, None)
            got = [server.complete(q.prompt, tokens=proofs.TOKENS) for q, _ in wanted]
            if proofs.compare(wanted, got, tolerance=0.05).fits:
                server.close()
                return number
        server.close()
        return None


def config(operator: Operator, tables: str) -> Path:
    path = operator.folder / "servers.toml"
    path.write_text((operator.folder / "factd.toml").read_text() + tables)
    return path


QUICK = ("vllm adapter", "sglang weights")  # those that most people have
BRIEF = ("old weights", "stale cache", "half loaded", "crash")


def cases(hows: Iterable[str]) -> list[Any]:
    """Every kind and misbehaviour; what is not brief is slow."""
    return [
        pytest.param(kind, how, marks=() if kind in QUICK and how in BRIEF else pytest.mark.slow)
        for kind in KINDS
        for how in hows
    ]


EVERY_KIND = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in KINDS]
)


@pytest.fixture
def served(kind: str, world: Operator) -> Iterator[Served]:
    """An engine that serves release 1, which was handed to it."""
    fake: Callable[..., FakeEngine] = FakeVllm if "vllm" in kind else FakeSglang
    with fake(BASE) as engine:
        tables = f'\n[servers.it]\nurl = "{engine.url}"\n{KINDS[kind]}'
        ahead = [timedelta(0)]
        found = open_app(config(world, tables), now=lambda: datetime.now(UTC) + ahead[0])
        with found.ledger.begin() as session:
            operations.handovers.forget_other_servers(session, [])
        publish.publish(
            found.ledger, found.paths, found.versions, found.fleet, found.config.approvals, 2
        )
        place = Served(found, engine, ahead)
        assert place.bring(1).status is HandoverStatus.DONE and place.says() == 1
        yield place
        engine.behave()
        found.ledger.store.close()


@EVERY_KIND
def test_a_release_is_proven_by_the_answers_that_users_get(served: Served) -> None:
    found = served.bring(2)
    assert (found.status, served.says()) == (HandoverStatus.DONE, 2)
    assert found.detail["asked"] >= 2
    assert served.bring(1).status is HandoverStatus.DONE and served.says() == 1
    assert served.bring(0).status is HandoverStatus.DONE and served.says() is None


@pytest.mark.parametrize(("kind", "how"), cases(WRONG))
def test_what_is_not_the_release_is_found_and_release_1_serves_again(
    served: Served, how: str
) -> None:
    served.misbehave(how)
    served.bring(2)
    if served.is_right_after_all(how):
        return
    if served.is_whole:  # one that goes on doing so cannot be put right; it is tried until it can
        served.engine.behave()
        served.ahead[0] = timedelta(hours=1)
        served.turn()
    assert served.says() == 1
    served.engine.behave()
    outbox.retry(served.app.ledger, served.app.fleet, "it", who="test", why="it behaves again")
    assert served.turn().status is HandoverStatus.DONE and served.says() == 2


@pytest.mark.parametrize(("kind", "how"), cases(h for h in WRONG if h != "stale cache"))
def test_what_goes_wrong_once_is_put_right_in_the_same_hand_over(served: Served, how: str) -> None:
    served.misbehave(how, times=1)
    served.bring(2)
    if not served.is_right_after_all(how):
        assert served.says() == 1 and served.newest_of(2).restored is not False


@pytest.mark.parametrize(("kind", "how"), cases(BROKEN))
def test_what_breaks_is_tried_again_and_release_1_serves_meanwhile(
    served: Served, how: str
) -> None:
    served.engine.misbehave(how, times=None if how in ("hang", "away") else 1)
    served.hurry(how == "hang")
    found = served.bring(2)
    assert (found.status, found.attempts) == (HandoverStatus.WAITING, 1)
    if how in ("500", "crash"):
        assert served.says() == 1
    served.engine.behave()
    served.hurry(False)
    served.ahead[0] = timedelta(minutes=1)
    assert served.turn().status is HandoverStatus.DONE and served.says() == 2


@EVERY_KIND
def test_an_engine_that_was_started_again_is_found_and_mended(served: Served) -> None:
    served.engine.start()
    assert (
        watch.observe_all(
            served.app.ledger,
            served.app.paths,
            served.app.versions,
            served.app.fleet,
            stopping=lambda: False,
        )
        == 1
    )
    assert served.turn().status is HandoverStatus.DONE and served.says() == 1


def test_a_proof_that_is_not_published_is_known_all_the_same(world: Operator) -> None:
    app = open_app(config(world, "\n[publish.checkpoint]\nreport = false\n"))
    folder = app.versions.folder(1)
    published = proofs.read(folder)
    version_files.write_again(app.ledger, app.paths, app.versions, 1)
    assert not (folder / proofs.FILE).exists() and not (folder / "report.json").exists()
    assert (
        proofs.proof_of(app.ledger, app.paths, app.versions, 1) == published
        and published is not None
    )
    app.ledger.store.close()
    world("releases", "write", "1")
    assert proofs.read(folder) == published


def test_a_rollback_brings_three_servers_back_in_one_command(world: Operator) -> None:
    with ExitStack() as stack:
        engines = [stack.enter_context(fake(BASE)) for fake in (FakeVllm, FakeVllm, FakeSglang)]
        tables = "".join(
            f'\n[servers.s{n}]\nurl = "{engine.url}"\n{kind}'
            for n, (engine, kind) in enumerate(
                zip(engines, (KINDS["vllm adapter"],) * 2 + (KINDS["sglang weights"],), strict=True)
            )
        )
        before = (world.folder / "factd.toml").read_text()
        config(world, tables).replace(world.folder / "factd.toml")
        try:
            world("unfreeze")
            world("releases", "publish", "2")
            words = [
                "--config",
                str(world.folder / "factd.toml"),
                "rollback",
                "--to",
                "1",
                "--json",
            ]
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "factd.daemon.cli.main", *words],
                capture_output=True,
                timeout=120,
                check=True,
            )
            sys.stdout.write(f"three servers were back after {time.monotonic() - started:.2f} s")
            found = json.loads(done.stdout)
            assert [(h["release"], h["status"]) for h in found["handovers"]] == [(1, "done")] * 3
            listed = world("servers", "list")
            assert [one["release"] for one in listed] == [1, 1, 1]
            assert world("servers", "check", "s0")["fits"]
            assert [s["status"] for s in world("status")["servers"]] == ["good"] * 3
        finally:
            (world.folder / "factd.toml").write_text(before)
            world("unfreeze")
