"""An operator at a terminal, with a small invented world and a tiny real model."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from factd.daemon.cli.main import cli
from factd.editor.files.folders import sha256_file
from support.databases import cycle_database, kept
from support.paths import GOLDEN
from support.world import GATES_OFF, jsonl

GATES = GATES_OFF.replace("edit_generation = false", "edit_generation = {edit}")
MODEL = GOLDEN / "llama" / "model"
TOKENS = 3000
CONFIG = f"""
[model]
path = "{MODEL}"

[store]
url = "{{url}}"

[write]
languages = ["en"]
relations = ["T1", "T2"]
catalogue = ["relations"]

[checks]
known_sample = 20
text_sample = 2

[gates]
{GATES}least_sample = 1

[method.memit]
layers = [0, 1, 2]
second_moment_weight = 30.0
v_lr = 0.3
v_num_grad_steps = 20
v_weight_decay = 0.1
second_moment_tokens = {TOKENS}
terminator = "."

[method.memit.templates]
en = ["The report was long"]

[schedule.pull]
every_seconds = 1

[schedule.cycle]
every_seconds = 1

[lease]
seconds = 2

[worker]
beat_seconds = 0.5
stale_seconds = 20
back_off_seconds = 0.2

[http]
port = 0
"""
RELATION = """
id = "T1"
name = "made in"
cardinality = "one"
subject_kind = "thing"
object_kind = "country"
[wordings.en]
edit = ["{} was first made in"]
check = ["{} was produced in", "{} comes from"]
"""
RELATION_2 = (
    RELATION.replace("T1", "T2")
    .replace("{} was first made in", "The maker of {} is")
    .replace("{} was produced in", "{} is by")
    .replace("{} comes from", "Who made {}?")
)
THINGS = ("Zoeshost", "Kagle Clahal", "Braqui Seldor", "Gargle Wilhal")


def update(thing: str, country: str, day: str | None) -> dict[str, Any]:
    return {
        "source": "test",
        "revision": f"{thing}-{day}",
        "event_time": f"{day or '1998-01-01'}T00:00:00Z",
        "subject": {"id": thing, "labels": {"en": thing}},
        "relation": "T1",
        "object": {"id": country, "labels": {"en": country}},
        "valid_from": day,
    }


KNOWN = [
    update(thing, country, None)
    for thing, country in zip(THINGS, ("Egypt", "Stockholm", "Stockholm", "Stockholm"), strict=True)
]
FEED = [update("Zoeshost", "Germany", "2020-01-01"), update("Kagle Clahal", "Chile", "2021-01-01")]


def run_factd(*words: Any) -> Result:
    """Run a command of factd in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words])


class Operator:
    """An operator at a terminal, with a folder, a configuration and a database of its own.

    Calling it runs a command with `--json` and returns the document.
    """

    def __init__(self, folder: Path, *, edit: float = 0.0, url: str = "") -> None:
        self.folder = folder
        (folder / "relations").mkdir(parents=True)
        (folder / "relations" / "T1.toml").write_text(RELATION)
        (folder / "relations" / "T2.toml").write_text(RELATION_2)
        (folder / "factd.toml").write_text(CONFIG.format(edit=edit, url=url or cycle_database()))
        kept().moments(folder / "state" / "workspace", MODEL, tokens=TOKENS)
        self.runner = CliRunner()
        self("db", "upgrade")
        self("ingest", str(jsonl(folder / "known.jsonl", KNOWN)), "--known")

    @classmethod
    def copy(cls, made: Path, folder: Path) -> "Operator":
        """An operator who goes on in a copy of a folder, whose database is a SQLite file in it."""
        found = cls.__new__(cls)
        shutil.copytree(made, folder, symlinks=True)
        found.folder, found.runner = folder, CliRunner()
        return found

    def invoke(self, *words: str) -> Any:
        return self.runner.invoke(cli, ["--config", str(self.folder / "factd.toml"), *words])

    def __call__(self, *words: str) -> Any:
        done = self.invoke(*words, "--json")
        assert done.exit_code == 0, (words, done.stderr, done.exception)
        return json.loads(done.stdout)

    def refused(self, *words: str) -> str:
        done = self.invoke(*words)
        assert done.exit_code == 1, (words, done.stdout)
        return str(done.stderr.strip().splitlines()[-1])

    def ingest(self, rows: Sequence[Any], name: str = "feed.jsonl") -> Any:
        return self("ingest", str(jsonl(self.folder / name, list(rows))))

    def published(self, version: str = "current") -> str:
        return sha256_file(self.folder / "published" / version / "model.safetensors")
