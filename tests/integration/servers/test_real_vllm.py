"""A real vLLM takes versions by hand-over and answers over HTTP as our own forward pass does.

    export FACTD_TEST_VLLM=/path/to/bin/vllm
    python -m pytest -m slow tests/integration/servers/test_real_vllm.py

What was seen with which release: docs/reference/serving-engines.md.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM

from factd.daemon.artefacts.proof import TOKENS, CertainAnswer, Question
from factd.daemon.rollout.handover import HandoverOrder, HandoverOutcome, Target, hand_over
from factd.daemon.servers import Report, Server, Version, vllm
from factd.editor import EditableModel, applied, load_model
from factd.editor.api import edit
from factd.editor.deltas.checkpoint import write_checkpoint
from factd.editor.deltas.delta import Delta
from factd.editor.deltas.lora import fill_adapter, fill_zero_adapter
from factd.editor.edits import Edit
from factd.editor.scoring.margins import continuations
from factd.reference import paths

COMMAND = os.environ.get("FACTD_TEST_VLLM", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="FACTD_TEST_VLLM names no vllm command"),
]
UP_SECONDS, END_SECONDS = 600, 60
TOLERANCE = 1e-3  # nats; both compute in float32
CURRENCY = "The currency of {} is"
WRITTEN = {1: ("Croatia",), 2: ("Croatia", "Japan")}  # subjects whose currency becomes the euro
PROMPTS = tuple(CURRENCY.format(name) for name in ("Croatia", "Japan", "Poland", "Mexico"))
SWITCHES = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
OPTIONS = (
    *("--host", "127.0.0.1", "--served-model-name", "base", "--dtype", "float32"),
    *("--enable-lora", "--max-lora-rank", "16", "--max-loras", "2", "--max-cpu-loras", "4"),
    *("--max-model-len", "128", "--block-size", "32", "--enforce-eager"),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model in float32, so that both sides round alike."""
    folder = tmp_path_factory.mktemp("base")
    model = AutoModelForCausalLM.from_pretrained(paths.MODEL, dtype=torch.float32)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(paths.MODEL / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def targets(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Target]:
    """The base and two real edits of it, published in both forms, with our own answers."""
    root, model = tmp_path_factory.mktemp("published"), load_model(base)
    deltas: dict[int, Delta | None] = {0: None}
    deltas |= {number: edited(model, names, root) for number, names in WRITTEN.items()}
    said = {number: answers(model, delta) for number, delta in deltas.items()}
    return {
        number: Target(version=published(base, root, number, delta), expected=wanted(said, number))
        for number, delta in deltas.items()
    }


def edited(model: EditableModel, names: tuple[str, ...], root: Path) -> Delta:
    settings = tomllib.loads(paths.SETTINGS.read_text())["method"]["memit"]
    templates = {"en": settings["templates"]["en"][:2]}
    fewer: dict[str, Any] = {"second_moment_tokens": 5000, "templates": templates}
    edits = [
        Edit(prompt=CURRENCY, subject=name, target_new="the euro", target_true=None, language="en")
        for name in names
    ]
    return edit(model, edits, settings=settings | fewer, workspace=root / "work")


def answers(model: EditableModel, delta: Delta | None) -> dict[str, CertainAnswer]:
    def found() -> dict[str, CertainAnswer]:
        given = continuations(model, PROMPTS, tokens=TOKENS)
        both = zip(PROMPTS, given, strict=True)
        return {prompt: CertainAnswer(text=one.text, logprobs=one.logprobs) for prompt, one in both}

    if delta is None:
        return found()
    with applied(model, delta):
        return found()


def wanted(
    said: Mapping[int, dict[str, CertainAnswer]], number: int
) -> list[tuple[Question, CertainAnswer]]:
    own, other = said[number], said[0]
    questions = [
        Question(
            prompt=p,
            language="en",
            answer=own[p],
            answer_before=other[p],
            answer_of_base=other[p],
            is_telling=own[p].text != other[p].text,
        )
        for p in PROMPTS
    ]
    return [(question, question.answer) for question in questions]


def published(base: Path, root: Path, number: int, delta: Delta | None) -> Version:
    folder = root / str(number)
    write_checkpoint(base, delta, folder)
    adapter = folder / "adapter"
    adapter.mkdir()
    if delta is None:
        fill_zero_adapter(base, adapter)
    else:
        fill_adapter(delta, base, adapter)
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return Version(number=number, folder=str(folder), adapter=str(adapter), digest=digest)


@pytest.fixture(scope="module")
def url(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server, over all tests of this file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    command = [COMMAND, "serve", str(base), "--port", str(port), *OPTIONS]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **SWITCHES}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        await_up(process, address, log)
        yield address
    finally:
        end(process)


def await_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + UP_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(1)
    pytest.fail(f"vLLM is not up after {UP_SECONDS} s:\n{log.read_text()[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=END_SECONDS)


@pytest.fixture
def adapters(url: str) -> Iterator[Server]:
    server = vllm.connect(vllm.Settings(kind="vllm", url=url, load_seconds=60.0))
    yield server
    server.close()


@pytest.fixture
def whole(url: str) -> Iterator[Server]:
    server = reloaded(url)
    yield server
    server.close()


def reloaded(url: str) -> Server:
    table: dict[str, Any] = {"kind": "vllm", "url": url, "mode": "reload", "model": "base"}
    return vllm.connect(vllm.Settings(**table, load_seconds=60.0))


def handed(server: Server, to: Target, back: Target | None) -> HandoverOutcome:
    order = HandoverOrder(to=to, back=back, tolerance=TOLERANCE, alive=lambda: None)
    return hand_over(server, order)


def said(server: Server) -> list[str]:
    return [server.complete(prompt, tokens=TOKENS).text for prompt in PROMPTS]


def test_the_versions_differ_or_nothing_here_would_show_anything(
    targets: Mapping[int, Target],
) -> None:
    texts = {n: [own.text for _, own in one.expected] for n, one in targets.items()}
    assert all(all(row) for row in texts.values())
    assert [sum("euro" in text for text in row) for row in texts.values()] == [0, 1, 2]


def test_adapters_are_handed_over_one_after_the_other_and_back_to_the_base(
    adapters: Server, targets: Mapping[int, Target]
) -> None:
    for to, back in ((1, None), (2, 1), (0, 2), (2, 0)):
        found = handed(adapters, targets[to], targets[back] if back is not None else None)
        assert (found.done, found.why, found.asked) == (True, "", len(PROMPTS))
        assert adapters.report() == Report(
            serving=targets[to].version.name, loaded=(targets[to].version.name,)
        )
    assert "the euro" in said(adapters)[1]


def test_an_adapter_that_says_something_else_is_found_out_and_the_one_before_serves(
    adapters: Server, targets: Mapping[int, Target]
) -> None:
    assert handed(adapters, targets[1], None).done
    wrong = replace(targets[2].version, adapter=targets[1].version.adapter)
    found = handed(adapters, replace(targets[2], version=wrong), targets[1])
    assert (found.done, found.transient) == (False, False)
    assert adapters.report().serving == targets[1].version.name


def test_whole_checkpoints_are_handed_over_and_taken_back(
    whole: Server, targets: Mapping[int, Target]
) -> None:
    for to, back in ((2, 0), (1, 2), (0, 1)):
        found = handed(whole, targets[to], targets[back])
        assert (found.done, found.why, found.asked) == (True, "", len(PROMPTS))
        assert whole.report().serving == targets[to].version.name


@contextmanager
def users(server: Server) -> Iterator[list[str]]:
    """Somebody who asks all the time, and what was answered."""
    got, stop = list[str](), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            got.append(server.complete(PROMPTS[0], tokens=TOKENS).text)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        yield got
        stop.set()
        asking.result(timeout=60)
    server.close()


def test_a_checkpoint_that_cannot_be_read_gives_no_user_an_error_and_the_one_before_is_back(
    whole: Server, url: str, targets: Mapping[int, Target], tmp_path: Path
) -> None:
    assert handed(whole, targets[1], targets[0]).done
    gone = replace(targets[2].version, folder=str(tmp_path / "gone"))
    with users(reloaded(url)) as got:
        for _ in range(3):  # what went wrong here once was a race
            found = handed(whole, replace(targets[2], version=gone), targets[1])
            assert (found.done, found.restored) == (False, True)
    assert got and "the euro" in got[-1] and "the euro" in said(whole)[0]
    assert handed(whole, targets[0], targets[1]).done
