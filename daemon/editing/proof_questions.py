"""The questions of a proof, asked of a candidate when it was accepted.

Each is asked of the candidate, of the release that was live then, and of the base model, with the
weights as they are published. Only answers that the model is certain of are kept
(editor/scoring/margins.py), so that a server that rounds otherwise says the same. Questions that
tell the candidate from the live release come first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.artefacts.proof import FILE, TOKENS, Proof, Question, Said, dumped
from factd.daemon.editing.candidates import Proposal
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts import probes
from factd.daemon.prompts.edits import PromptSettings, writable_languages
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta
    from factd.editor.scoring.margins import Continuation

POOL = 3  # prompts of each sort that are tried for each question that is kept


def record(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    fleet: Fleet,
    case: Proposal,
    delta: "Delta",
    folder: Path,
) -> Proof:
    """Ask an accepted candidate, the live release and the base, and keep what tells them apart beside the delta."""
    from factd.editor.deltas.delta import applied, load_delta
    from factd.editor.files.folders import write_file
    from factd.editor.scoring.margins import continuations

    pool = _pool(ledger, prompts, fleet, case)
    model, live = workbench.model(), case.live

    def said() -> "tuple[Continuation, ...]":
        return continuations(model, [prompt for prompt, _ in pool], tokens=TOKENS)

    base = before = said()
    with applied(model, delta):
        now = said()
    if live.candidate_id is not None:
        with applied(model, load_delta(paths.candidate(live.candidate_id) / "delta")):
            before = said()
    asked = [_asked(*rows) for rows in zip(pool, now, before, base, strict=True) if rows[1].text]
    best = best_of(asked, fleet.table.probes)
    found = Proof(before=live.number, base=live.base, questions=best)
    write_file(folder / FILE, dumped(found))
    return found


def _asked(
    prompt: tuple[str, str], now: "Continuation", before: "Continuation", base: "Continuation"
) -> Question:
    said = [Said(text=one.text, logprobs=one.logprobs) for one in (now, before, base)]
    tells = not before.greedy.strip().startswith(now.text.strip())
    return Question(
        prompt=prompt[0],
        language=prompt[1],
        said=said[0],
        before=said[1],
        base=said[2],
        tells=tells,
    )


def best_of(asked: Sequence[Question], count: int) -> tuple[Question, ...]:
    """The questions that tell most, of every language the best first: those that tell before any that do not."""
    ranked: dict[str, int] = Counter()
    order = []
    for question in sorted(asked, key=_worth, reverse=True):
        order.append((not question.tells, ranked[question.language], question))
        ranked[question.language] += 1
    return tuple(one[2] for one in sorted(order, key=lambda one: one[:2])[:count])


def _worth(question: Question) -> tuple[bool, bool, float]:
    """Those that tell first, among them those to which the release before is certain of its own; then the farthest apart."""
    said, before = question.said, question.before
    return question.tells, bool(before.text), said.distance(before)


def _pool(
    ledger: Ledger, prompts: PromptSettings, fleet: Fleet, case: Proposal
) -> list[tuple[str, str]]:
    """Prompts and their languages: about facts that come or go, about those that stay, about what the base knows."""
    most = POOL * fleet.table.probes
    gone = set(case.live.fact_ids) - set(case.ids)
    with ledger.read() as session:
        left = queries.facts.facts_by_id(session, sorted(gone))
    changed = _prompts(prompts, case, (*case.context.new, *left))
    stays = _prompts(prompts, case, case.context.earlier)
    known = [(p.prompt, p.language) for p in case.exam.probes if p.kind == "known"]
    sorts = (changed, stays, known)
    found = [one for sort in sorts for one in chosen_prompts(sort, most)]
    return list(dict.fromkeys(found))


def _prompts(
    prompts: PromptSettings, case: Proposal, facts: Iterable[Fact]
) -> list[tuple[str, str]]:
    plan = prompts
    return [
        (probe.prompt, language)
        for fact in facts
        for language in plan.served
        if writable_languages(fact, plan.catalogue[fact.relation], (language,))
        for probe in probes.statement_probes(fact, case.context, language, plan)
        if probe.kind == "edit"
    ]


def chosen_prompts(found: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many, spread over all of them."""
    step = max(1, -(-len(found) // most)) if most else 1
    return list(found[::step])[:most]
