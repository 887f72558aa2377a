"""What the bench edits and asks: records whose old object the model knows, and bystanders.

A bystander is a fact that the base model answers right and that no edit touches: a general fact
(general.json), or a question of a record that is not edited, about a subject that is not edited.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from factd.editor.datasets import Record
from factd.editor.scoring.judge import SortedNames, is_right, longer_names
from factd.editor.scoring.score import Probe

GENERAL = Path(__file__).with_name("general.json")
BLOCK = 120  # questions that are asked at once while bystanders are looked for

Ask = Callable[[Sequence[str]], list[str]]
"""Prompts -> the base model's greedy answers."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What one seed draws."""

    seed: int
    records: tuple[Record, ...]  # to edit
    probes: tuple[Probe, ...]  # about them; `fact` is the record's id
    bystanders: tuple[Probe, ...]  # `fact` is the prompt: each is a fact of its own


def known_records(records: Sequence[Record], ask: Ask) -> tuple[Record, ...]:
    """The records whose old object the model gives when it is asked the edit's prompt."""
    asked = [r for r in records if r.edit.target_true]
    names = object_names(records)
    texts = ask([r.edit.prompt.format(r.edit.subject) for r in asked])
    return tuple(
        record
        for record, text in zip(asked, texts, strict=True)
        if _gives(text, (str(record.edit.target_true),), names)
    )


def _gives(text: str, accepted: Sequence[str], names: SortedNames) -> bool:
    return is_right(text, accepted, longer=longer_names(accepted, names))


def object_names(records: Sequence[Record]) -> SortedNames:
    """The objects of all records, to tell a label from the beginning of a longer one."""
    objects = [(r.edit.target_new, r.edit.target_true) for r in records]
    return SortedNames({name for pair in objects for name in pair if name})


def draw(
    records: Sequence[Record],
    known: Sequence[Record],
    ask: Ask,
    *,
    seed: int,
    count: int,
    bystanders: int,
    asked: int = 1200,
) -> Drawn:
    """The edits of a seed and their bystanders.

    count: records to edit at most; all of `known` if there are fewer. bystanders: questions that
    the base model answers right, at most. asked: questions tried to find them, at most.
    """
    order = random.Random(seed)
    chosen = tuple(order.sample(list(known), min(count, len(known))))
    names = object_names(records)
    found = [_judged(p, names) for p in general_facts()]
    found += _untouched(records, chosen, names, order)
    return Drawn(
        seed=seed,
        records=chosen,
        probes=tuple(
            replace(probe, fact=record.id)
            for record in chosen
            for probe in record.questions((record.edit.language,))
        ),
        bystanders=_answered(found[:asked], ask, bystanders),
    )


def _judged(probe: Probe, names: SortedNames) -> Probe:
    """A probe that knows the longer names that its labels begin."""
    return replace(probe, longer=longer_names(probe.accepted, names))


def general_facts() -> list[Probe]:
    """General facts in English, which most models know."""
    facts = json.loads(GENERAL.read_text(encoding="utf-8"))
    return [_bystander(prompt, tuple(labels), "en") for prompt, labels in facts]


def _bystander(prompt: str, labels: tuple[str, ...], language: str) -> Probe:
    return Probe(
        kind="bystander",
        language=language,
        prompt=prompt,
        target=labels[0],
        accepted=labels,
        fact=prompt,
    )


def _untouched(
    records: Sequence[Record], chosen: Sequence[Record], names: SortedNames, order: random.Random
) -> list[Probe]:
    """Questions of records that are not edited, in random order, each prompt once."""
    ids = {record.id for record in chosen}
    subjects = [record.edit.subject.casefold() for record in chosen]
    taken = {p.prompt for record in chosen for p in record.probes}
    asked: dict[str, Probe] = {}
    for record in (r for r in records if r.id not in ids and r.edit.target_true):
        edit = record.edit
        own = _bystander(edit.prompt.format(edit.subject), (str(edit.target_true),), edit.language)
        others = [
            _bystander(p.prompt, p.accepted, p.language)
            for p in record.probes
            if p.kind == "neighbourhood"
        ]
        asked |= {p.prompt: p for p in (own, *others) if p.prompt not in taken}
    found = [p for p in asked.values() if not any(s in p.prompt.casefold() for s in subjects)]
    order.shuffle(found)
    return [_judged(p, names) for p in found]


def _answered(probes: Sequence[Probe], ask: Ask, wanted: int) -> tuple[Probe, ...]:
    """The first probes that the base model answers right."""
    right: list[Probe] = []
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK]
        texts = ask([p.prompt for p in block])
        right += [
            p
            for p, text in zip(block, texts, strict=True)
            if is_right(text, p.accepted, longer=p.longer)
        ]
        if len(right) >= wanted:
            break
    return tuple(right[:wanted])
