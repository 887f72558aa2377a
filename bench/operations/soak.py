"""Do memory, open files or disk use grow over many cycles in one process?

    factd bench soak [--cycles 500] [--json]

A cycle is ingest, edit, check, publish, audit and prune. The model is tiny and has random weights.
Twenty subjects have one fact each, which changes again and again. Resident memory, open files,
threads and bytes on disk are measured every ten cycles. A real worker is replaced by a fresh
process after [worker] tasks; this one never is.
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
from factd.daemon.configuration import load_config
from factd.daemon.gates.measures import MEASURES
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
    """Run the benchmark.

    Returns its document, with the bands of memory, open files and disk after warm-up.
    """
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        prepare(home)
        rows = run_cycles(home, cycles)
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
    """How far values lie from their median, as shares of it.

    drift: from the median of the first half to that of the second.
    """
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
    """Write a configuration, a relation, and a tiny model with the reference model's tokenizer."""
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
    """The n-th update.

    Each subject gets every twentieth one, with another place and a later day.
    """
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


def run_cycles(home: Path, cycles: int) -> list[dict[str, Any]]:
    """Run the cycles. Returns one row for every ten of them."""
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
            run_task(app, worker, kind)
        if (number + 1) % EVERY == 0:
            shutil.rmtree(inbox / "done", ignore_errors=True)  # the operator's own, kept for ever
            retention.prune(app)
            rows.append(
                measure_process(home, app, number + 1, (time.monotonic() - started) / EVERY)
            )
            started = time.monotonic()
    app.ledger.store.close()
    return rows


def run_task(app: App, worker: WorkerProcess, kind: str) -> None:
    """Ask for one task, run it, and check that it succeeded."""
    with app.ledger.begin() as session:
        asked = operations.tasks.add_task(session, kind, {}, now=app.ledger.now())
    assert worker.run_next_task()
    with app.ledger.read() as session:
        done = operations.tasks.task(session, asked.id)
    good = "is live" in done.detail or "passed" in done.detail
    assert good, done.detail


def measure_process(home: Path, app: App, cycles: int, seconds: float) -> dict[str, Any]:
    """The row of this moment: memory, files and threads of the process, size of the folder."""
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
