"""Does anything grow? Cycles of ingest, edit, check, publish, audit and prune in one process that is never started afresh.

    factd bench soak [--cycles 500] [--json]

A tiny model with random weights, twenty subjects whose one fact changes again and again. Every ten cycles: resident memory, open
files, threads, bytes on disk. A real worker makes room for a fresh one after [worker] tasks; this one never does.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from factd.bench.measure import document
from factd.daemon.app import App, build
from factd.daemon.backup import retention
from factd.daemon.config.gates import MEASURES
from factd.daemon.config.load import load_config
from factd.daemon.runtime.daemon import Daemon
from factd.daemon.runtime.worker import WorkerProcess
from factd.reference import paths
from factd.store import operations, queries
from factd.store.database import migrate

SUBJECTS, EVERY, WARM_SHARE, BAND = 20, 10, 0.2, 0.05
PLACES = ("Berlin", "Paris", "Madrid", "Rome", "Vienna", "Lisbon", "Dublin")
CONFIG = """
[model]
path = "model"
[write]
languages = ["en"]
relations = ["S1"]
catalogue = ["relations"]
edit_wordings = 1
[checks]
known_sample = 5
text_sample = 2
ranked = 0
[planning]
ask_samples = 0
[gates]
{gates}
[method.memit]
layers = [0, 1]
second_moment_weight = 30.0
second_moment_tokens = 500
v_lr = 0.3
v_num_grad_steps = 3
terminator = "."
[method.memit.templates]
en = ["The report was long"]
[publish]
keep = 3
[retention]
days = 0.0003
runs_days = 0.0005
[http]
port = 0
"""
RELATION = """
id = "S1"
name = "seat"
cardinality = "one"
subject_kind = "company"
object_kind = "city"
[wordings.en]
edit = ["The seat of {} is in"]
check = ["{} has its seat in", "{} is at home in"]
"""


def run(*, cycles: int = 500) -> dict[str, Any]:
    """The table, and the bands that memory and open files stayed in after warm-up."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        prepare(home)
        rows = soaked(home, cycles)
    settled = rows[int(len(rows) * WARM_SHARE) :]
    return document(
        "soak",
        "cpu",
        rows,
        cycles=cycles,
        memory_band=band([row["rss MiB"] for row in settled]),
        files_band=band([row["open files"] for row in settled]),
        disk_band=band([row["disk MiB"] for row in settled]),
        seconds_per_cycle=median(row["s / cycle"] for row in rows),
    )


def band(values: Sequence[float]) -> dict[str, float]:
    """How far values lie from their median, as shares; and between the medians of their two halves."""
    middle = median(values)
    half = len(values) // 2
    drift = median(values[half:]) / median(values[:half]) - 1 if half else 0.0
    return {
        "median": middle,
        "low": round(min(values) / middle - 1, 4),
        "high": round(max(values) / middle - 1, 4),
        "drift": round(drift, 4),
    }


def prepare(home: Path) -> None:
    """A configuration, a relation, a tiny model with the reference model's tokenizer, the world as it begins."""
    gates = "fact_right = 0.0\n" + "\n".join(f"{measure} = false" for measure in MEASURES)
    (home / "factd.toml").write_text(CONFIG.format(gates=gates), encoding="utf-8")
    (home / "relations").mkdir()
    (home / "relations" / "S1.toml").write_text(RELATION, encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(paths.MODEL)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")


def update(number: int) -> dict[str, Any]:
    """The n-th change: each subject's turn comes every twenty times, with another place and a later day."""
    subject, round_ = number % SUBJECTS, number // SUBJECTS
    place = PLACES[(subject + round_) % len(PLACES)]
    day = (datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=round_)).date().isoformat()
    return {
        "source": "soak",
        "revision": str(number),
        "event_time": f"{day}T00:00:00Z",
        "subject": {"id": f"C{subject}", "labels": {"en": f"Company {chr(65 + subject)}elta"}},
        "relation": "S1",
        "object": {"id": place, "labels": {"en": place}},
        "valid_from": day,
    }


def soaked(home: Path, cycles: int) -> list[dict[str, Any]]:
    """One line for every ten cycles."""
    app = build(load_config(home / "factd.toml"))
    migrate.upgrade(app.config.database)
    inbox = home / "inbox"
    inbox.mkdir()
    daemon, worker = Daemon(app, home / "factd.toml"), WorkerProcess(app)
    rows, started, begun = [], time.monotonic(), datetime.now(UTC)
    for number in range(cycles):
        part = home / "next.jsonl"
        part.write_text(json.dumps(update(number)) + "\n", encoding="utf-8")
        part.rename(inbox / f"{number}.jsonl")
        moment = begun + timedelta(seconds=number)
        daemon.tick(daemon.jobs["pull"], moment, epoch=1)
        for kind in ("edit", "audit"):
            worked(app, worker, kind)
        if (number + 1) % EVERY == 0:
            shutil.rmtree(inbox / "done", ignore_errors=True)  # the operator's own, kept for ever
            retention.prune(app)
            rows.append(line(home, app, number + 1, (time.monotonic() - started) / EVERY))
            started = time.monotonic()
    app.ledger.store.close()
    return rows


def worked(app: App, worker: WorkerProcess, kind: str) -> None:
    """One task, from asking for it to its end, which must be good."""
    with app.ledger.begin() as session:
        asked = operations.tasks.add_task(session, kind, {}, now=app.ledger.now())
    assert worker._turn()
    with app.ledger.read() as session:
        done = operations.tasks.task(session, asked.id)
    good = "is live" in done.detail or "passed" in done.detail
    assert good, done.detail


def line(home: Path, app: App, cycles: int, seconds: float) -> dict[str, Any]:
    """What this process and the folder hold now."""
    process = psutil.Process()
    with app.ledger.read() as session:
        live = queries.releases.live_release(session)
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "cycles": cycles,
        "live release": live.number if live else 0,
        "rss MiB": process.memory_info().rss / 2**20,
        "open files": process.num_fds(),
        "threads": process.num_threads(),
        "disk MiB": sum(path.stat().st_size for path in files) / 2**20,
        "files": len(files),
        "s / cycle": seconds,
    }
