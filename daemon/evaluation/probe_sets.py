"""The probe set: questions about what must not change, asked of every release in the same words.

A set is drawn once and kept as a numbered version. It holds facts of the base model in wordings
that no fact is written with, questions whose candidates are ranked, and held-out texts: those of
[checks.texts], or else texts that the base model itself writes. A new version is drawn if there is
none yet, or if the base model, the served languages, the catalogue, the sizes or the texts differ
from those that the newest version was drawn for.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.errors import BadConfig
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.prompts import probes
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.longer_names import with_longer_names
from factd.daemon.workbench import Workbench
from factd.editor.files.folders import verify_folder, write_folder
from factd.store import queries
from factd.store.model.evidence import ProbeSet
from factd.store.model.facts import Fact, FactStatus

if TYPE_CHECKING:
    from factd.editor.exams.exam import Exam

FILE = "probes.json"
MAX_KNOWN_FACTS = 20_000  # samples are drawn from so many; ids are hashes, so the first are random
TEXT_TOKENS = 48  # tokens of a text that the base model writes


def known_facts(ledger: Ledger, prompts: PromptSettings) -> tuple[Fact, ...]:
    """The base model's own current facts whose relations are still in the catalogue."""
    with ledger.read() as session:
        facts = queries.facts.list_facts(session, status=(FactStatus.KNOWN,), limit=MAX_KNOWN_FACTS)
    return tuple(fact for fact in facts if fact.relation in prompts.catalogue)


def current(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    known: Sequence[Fact],
) -> "tuple[ProbeSet, Exam]":
    """The newest version. A new one is drawn now if it no longer fits.

    Its probes carry the longer names that are known now.
    """
    basis = basis_digest(workbench, prompts, known)
    with ledger.read() as session:
        newest = queries.evidence.probe_sets(session, limit=1)
    if newest and newest[0].basis == basis:
        kept = load(paths, newest[0].version)
        return newest[0], replace(kept, probes=with_longer_names(kept.probes, known))
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
    """Draw a new version. Raises: BadConfig: a file of [checks.texts] is unreadable or empty."""
    from factd.editor.exams.exam import Exam  # needs torch

    exam = Exam(
        probes=probes.known_fact_probes(known, prompts),
        texts=held_out_texts(workbench, prompts, prompts.sizes.texts, seed=0),
        questions=probes.ranked_questions(known, prompts),
    )
    content = json.dumps(exam.as_json(), ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    with ledger.begin() as session:
        probe_set = queries.evidence.add_probe_set(
            session,
            digest=digest,
            basis=basis_digest(workbench, prompts, known),
            counts=exam.counts(),
            why=why,
            now=ledger.now(),
        )
        _write(folder(paths, probe_set.version), content, probe_set)
    log.info("probe set drawn", version=probe_set.version, why=why, probes=len(exam))
    return probe_set, exam


def _write(out: Path, content: str, about: ProbeSet) -> None:
    def fill(part: Path) -> None:
        (part / FILE).write_text(content, encoding="utf-8")

    write_folder(out, fill, about.as_json())


def load(paths: Paths, version: int) -> "Exam":
    """The questions of a version. Raises: DamagedArtefact: its file differs from its manifest."""
    from factd.editor.exams.exam import Exam  # needs torch

    verify_folder(folder(paths, version))
    text = (folder(paths, version) / FILE).read_text(encoding="utf-8")
    return Exam.from_json(json.loads(text))


def folder(paths: Paths, version: int) -> Path:
    """The folder of a version."""
    return paths.state / "probes" / str(version)


def basis_digest(workbench: Workbench, prompts: PromptSettings, known: Sequence[Fact]) -> str:
    """SHA-256 over everything that a probe set depends on. Another digest asks for another set."""
    basis: dict[str, Any] = {
        "base": workbench.model().fingerprint,
        "served": prompts.served,
        "sizes": asdict(prompts.sizes),
        "wordings": {id_: asdict(r) for id_, r in sorted(prompts.catalogue.items())},
        "texts": {k: _text_of(p) for k, p in sorted(prompts.checks.texts.items())},
        "known": min(len(known), prompts.sizes.known),  # a new set until the sample is full
    }
    content = json.dumps(basis, sort_keys=True, default=list)
    return hashlib.sha256(content.encode()).hexdigest()


def held_out_texts(
    workbench: Workbench, prompts: PromptSettings, count: int, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """Language -> held-out texts, from its file or else written by the base model."""
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
    from factd.editor.models.generation import own_texts  # needs torch
    from factd.editor.values.templates import SEED_WORDS

    starts = SEED_WORDS.get(language, SEED_WORDS["en"])
    model = workbench.model()
    return tuple(own_texts(model, starts, count=count, new_tokens=TEXT_TOKENS, seed=seed))


def _text_of(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(
            f"checks.texts: {file} cannot be read as UTF-8 text ({error}); "
            "correct the path or the file"
        ) from error
    if not text.strip():
        raise BadConfig(f"checks.texts: {file} is empty; write one text on each line")
    return text
