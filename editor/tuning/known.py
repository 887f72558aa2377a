"""Facts for a search: those that the model knows, each with a new object to write."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from factd.editor.edits import Edit
from factd.editor.errors import BadEdit
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import forced_scores
from factd.editor.tuning.budget import TimeBudget
from factd.editor.tuning.trials import KnownFact

LEAST_KNOWN = 8  # facts; with fewer a trial says nothing
ASKED_AT_ONCE = 32  # facts


def known_facts(rows: Iterable[Edit], *, seed: int = 0) -> tuple[KnownFact, ...]:
    """Facts for the search, each with a new object: that of another subject of the same wording.

    Wordings of one fact are joined. The order and the objects depend on the seed only; relations
    take turns. rows: edits whose target_true is today's answer; their target_new is ignored.

    Raises: BadEdit: no two facts share a prompt and differ in target_true.
    """
    wordings: dict[tuple[str, str, str], list[Edit]] = {}
    objects: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.target_true:
            wordings.setdefault((row.language, row.subject, row.target_true), []).append(row)
            objects.setdefault((row.language, row.prompt), set()).add(row.target_true)
    facts = []
    for (language, subject, true), same in wordings.items():
        others = sorted(objects[language, same[0].prompt] - {true})
        if others:
            number = int(
                hashlib.sha256(f"{seed} {language} {subject} {true}".encode()).hexdigest(), 16
            )
            edit = replace(same[0], target_new=others[number % len(others)])
            facts.append(KnownFact(edit=edit, paraphrases=tuple(e.prompt for e in same[1:])))
    if not facts:
        raise BadEdit("no two facts share a prompt and differ in target_true; give more facts")
    return _by_turns(
        sorted(facts, key=lambda k: hashlib.sha256(f"{seed} {k.edit.key}".encode()).digest())
    )


def _by_turns(facts: Sequence[KnownFact]) -> tuple[KnownFact, ...]:
    """One fact of each prompt, then the second of each, and so on: trials see every relation."""
    turns: dict[str, int] = {}
    keyed = []
    for fact in facts:
        turns[fact.edit.prompt] = turn = turns.get(fact.edit.prompt, 0) + 1
        keyed.append((turn, fact))
    return tuple(fact for _, fact in sorted(keyed, key=lambda pair: pair[0]))


def known_to(
    model: EditableModel,
    facts: Sequence[KnownFact],
    wanted: int,
    budget: TimeBudget,
    progress: Progress = silent,
) -> tuple[list[KnownFact], int]:
    """The first `wanted` facts that the model knows, and how many it was asked.

    It knows a fact if every token of the object is the most likely one behind the prompt: then its
    answer begins with the object. A fifth of the time may be used for asking, or half of it if few
    are known by then.

    Raises: BadEdit: the model knows fewer than 8 of the facts.
    """
    known: list[KnownFact] = []
    asked = 0
    progress("asking for known facts", 0, wanted)
    while asked < len(facts) and len(known) < wanted:
        share = 1 / 5 if len(known) >= 2 * LEAST_KNOWN else 1 / 2
        if asked and budget.spent > budget.seconds * share:
            budget.skipped.append(f"asking for {len(facts) - asked} more facts")
            break
        part = facts[asked : asked + ASKED_AT_ONCE]
        pairs = [(k.edit.prompt.format(k.edit.subject), str(k.edit.target_true)) for k in part]
        right = [accurate for _, accurate in forced_scores(model, pairs)]
        known += [k for k, knows in zip(part, right, strict=True) if knows]
        asked += len(part)
        progress("asking for known facts", min(len(known), wanted), wanted)
    if len(known) < LEAST_KNOWN:
        raise BadEdit(
            f"the model answers {len(known)} of {asked} facts right, "
            f"and tuning needs at least {LEAST_KNOWN}; give more facts that it knows"
        )
    return known[:wanted], asked
