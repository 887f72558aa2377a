"""Asks a checked candidate the questions of its proof, and keeps the ones that are worth asking.

Each question is asked three times, with the weights as they are published: of the candidate, of the
release that is live, and of the base. Only the tokens that a model is certain of are kept
(editor/scoring/margins.py), so that a server that rounds otherwise gives the same answer. Questions
that the live release would answer otherwise come first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.artefacts.proof import FILE, TOKENS, CertainAnswer, Proof, Question, dumped
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

PROMPTS_PER_QUESTION = 3  # prompts of each kind that are tried for each question that is kept


def record_proof(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    fleet: Fleet,
    case: Proposal,
    delta: "Delta",
    folder: Path,
) -> Proof:
    """Ask an accepted candidate, the live release and the base, and write the proof.

    The proof lies beside the delta.
    """
    from factd.editor.deltas.delta import applied, load_delta
    from factd.editor.files.folders import write_file
    from factd.editor.scoring.margins import continuations

    pool = prompt_pool(ledger, prompts, fleet, case)
    model, live = workbench.model(), case.live

    def answers() -> "tuple[Continuation, ...]":
        return continuations(model, [prompt for prompt, _ in pool], tokens=TOKENS)

    of_base = of_live = answers()
    with applied(model, delta):
        of_candidate = answers()
    if live.candidate_id is not None:
        with applied(model, load_delta(paths.candidate(live.candidate_id) / "delta")):
            of_live = answers()
    rows = zip(pool, of_candidate, of_live, of_base, strict=True)
    questions = [_question(*row) for row in rows if row[1].text]
    best = most_telling(questions, fleet.table.probes)
    proof = Proof(before=live.number, base=live.base, questions=best)
    write_file(folder / FILE, dumped(proof))
    return proof


def _question(
    prompt: tuple[str, str],
    of_candidate: "Continuation",
    of_live: "Continuation",
    of_base: "Continuation",
) -> Question:
    return Question(
        prompt=prompt[0],
        language=prompt[1],
        answer=_answer(of_candidate),
        answer_before=_answer(of_live),
        answer_of_base=_answer(of_base),
        is_telling=not of_live.greedy.strip().startswith(of_candidate.text.strip()),
    )


def _answer(continuation: "Continuation") -> CertainAnswer:
    return CertainAnswer(text=continuation.text, logprobs=continuation.logprobs)


def most_telling(questions: Sequence[Question], count: int) -> tuple[Question, ...]:
    """The questions to keep, at most `count`.

    Telling questions come first, and the best question of every language is kept.
    """
    rank_in_language: dict[str, int] = Counter()
    order = []
    for question in sorted(questions, key=_worth, reverse=True):
        rank = rank_in_language[question.language]
        order.append((not question.is_telling, rank, question))
        rank_in_language[question.language] += 1
    return tuple(row[2] for row in sorted(order, key=lambda row: row[:2])[:count])


def _worth(question: Question) -> tuple[bool, bool, float]:
    """The rank of a question.

    Telling questions rank first, then questions to which the earlier release gives a certain
    answer. Among equals the larger distance ranks first.
    """
    answer, before = question.answer, question.answer_before
    return question.is_telling, bool(before.text), answer.distance(before)


def prompt_pool(
    ledger: Ledger, prompts: PromptSettings, fleet: Fleet, case: Proposal
) -> list[tuple[str, str]]:
    """Prompts to try, each with its language.

    They ask about facts that come or go, about facts that stay, and about what the base knows.
    """
    most = PROMPTS_PER_QUESTION * fleet.table.probes
    gone_ids = set(case.live.fact_ids) - set(case.ids)
    with ledger.read() as session:
        gone = queries.facts.facts_by_id(session, sorted(gone_ids))
    changed = _prompts(prompts, case, (*case.context.new, *gone))
    stays = _prompts(prompts, case, case.context.earlier)
    known = [(p.prompt, p.language) for p in case.exam.probes if p.kind == "known"]
    pool = [one for kind in (changed, stays, known) for one in spread(kind, most)]
    return list(dict.fromkeys(pool))


def _prompts(
    prompts: PromptSettings, case: Proposal, facts: Iterable[Fact]
) -> list[tuple[str, str]]:
    return [
        (probe.prompt, language)
        for fact in facts
        for language in prompts.served
        if writable_languages(fact, prompts.catalogue[fact.relation], (language,))
        for probe in probes.statement_probes(fact, case.context, language, prompts)
        if probe.kind == "edit"
    ]


def spread(prompts: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many prompts, taken at even steps from all of them."""
    step = max(1, -(-len(prompts) // most)) if most else 1
    return list(prompts[::step])[:most]
