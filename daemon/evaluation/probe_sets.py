"""The probe set: what must not change, asked of every release in the same words. Drawn once, kept as a numbered version.

A set holds facts of the base model in wordings that no fact is written with, questions whose candidates are ranked, and
held-out texts ([checks.texts], else what the base model itself writes). A new version is drawn where there is none, or where
the base model, the served languages, the catalogue, the sizes or the texts are others than it was drawn for.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.errors import BadConfig
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.prompts import probes
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.evidence import ProbeSet
from factd.store.model.facts import Fact, FactStatus

if TYPE_CHECKING:
    from factd.editor.exams.exam import Exam

FILE = "probes.json"
KNOWN = 20_000  # of the base's own facts, from which samples are drawn; ids are hashes, so the first are any
TEXT_TOKENS = 48  # of a text that the model writes


def known_facts(ledger: Ledger, prompts: PromptSettings) -> tuple[Fact, ...]:
    """The base model's own current facts, as far as the catalogue still has their relations."""
    with ledger.read() as session:
        found = queries.facts.list_facts(session, status=(FactStatus.KNOWN,), limit=KNOWN)
    return tuple(fact for fact in found if fact.relation in prompts.catalogue)


def current(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    known: Sequence[Fact],
) -> "tuple[ProbeSet, Exam]":
    """The newest version, drawn now where there is none for how things are."""
    basis = basis_of(workbench, prompts, known)
    with ledger.read() as session:
        newest = queries.evidence.probe_sets(session, limit=1)
    if newest and newest[0].basis == basis:
        return newest[0], load(paths, newest[0].version)
    why = "the base, languages, catalogue, sizes or texts changed" if newest else "the first one"
    return build(ledger, paths, workbench, prompts, known, why=why)


def build(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    known: Sequence[Fact],
    *,
    why: str,
) -> "tuple[ProbeSet, Exam]":
    """A new version. Raises: BadConfig: a file of [checks.texts] cannot be read or holds too little."""
    from factd.editor.exams.exam import Exam

    exam = Exam(
        probes=probes.known_fact_probes(known, prompts),
        texts=held_out(workbench, prompts, prompts.sizes.texts, seed=0),
        questions=probes.ranked_questions(known, prompts),
    )
    content = json.dumps(exam.as_json(), ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    with ledger.begin() as session:
        found = queries.evidence.add_probe_set(
            session,
            digest=digest,
            basis=basis_of(workbench, prompts, known),
            counts=exam.counts(),
            why=why,
            now=ledger.now(),
        )
        _write(folder(paths, found.version), content, found)
    log.info("probe set drawn", version=found.version, why=why, probes=len(exam))
    return found, exam


def _write(out: Path, content: str, about: ProbeSet) -> None:
    from factd.editor.files.folders import write_folder

    def fill(part: Path) -> None:
        (part / FILE).write_text(content, encoding="utf-8")

    write_folder(out, fill, about.as_json())


def load(paths: Paths, version: int) -> "Exam":
    """The questions of a version. Raises: DamagedArtefact: its file is not what its manifest says."""
    from factd.editor.exams.exam import Exam
    from factd.editor.files.folders import verify_folder

    verify_folder(folder(paths, version))
    text = (folder(paths, version) / FILE).read_text(encoding="utf-8")
    return Exam.from_json(json.loads(text))


def folder(paths: Paths, version: int) -> Path:
    """Where a version lies."""
    return paths.state / "probes" / str(version)


def basis_of(workbench: Workbench, prompts: PromptSettings, known: Sequence[Fact]) -> str:
    """SHA-256 of what a set is drawn for."""
    plan = prompts
    held: dict[str, Any] = {
        "base": workbench.model().fingerprint,
        "served": plan.served,
        "sizes": asdict(plan.sizes),
        "wordings": {id_: asdict(r) for id_, r in sorted(plan.catalogue.items())},
        "texts": {k: _text_of(p) for k, p in sorted(prompts.checks.texts.items())},
        "known": min(len(known), plan.sizes.known),  # until the sample is full
    }
    content = json.dumps(held, sort_keys=True, default=list)
    return hashlib.sha256(content.encode()).hexdigest()


def held_out(
    workbench: Workbench, prompts: PromptSettings, count: int, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """Texts of every served language: of its file, else the base model's own."""
    if not count:
        return {}
    files = prompts.checks.texts
    return {k: _texts(workbench, files.get(k), k, count, seed) for k in prompts.served}


def _texts(
    workbench: Workbench, file: Path | None, language: str, count: int, seed: int
) -> tuple[str, ...]:
    if file is not None:
        texts = [line.strip() for line in _text_of(file).splitlines() if line.strip()]
        return tuple(random.Random(seed).sample(texts, min(count, len(texts))))
    from factd.editor.models.generation import own_texts
    from factd.editor.values.templates import SEED_WORDS

    starts = SEED_WORDS.get(language, SEED_WORDS["en"])
    model = workbench.model()
    return tuple(own_texts(model, starts, count=count, new_tokens=TEXT_TOKENS, seed=seed))


def _text_of(file: Path) -> str:
    try:
        found = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"checks.texts: {file} cannot be read as UTF-8 text: {error}") from error
    if not found.strip():
        raise BadConfig(f"checks.texts: {file} is empty; write a text a line")
    return found
