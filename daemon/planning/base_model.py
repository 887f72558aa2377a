"""What the base model says about facts before they are written: known already, something else, or never heard of.

A fact is known where every wording that would be edited is answered right, in every written language. A subject is
unknown where its name, at its place in the relation's wordings, is about as unlikely as names that were made up: an edit
would be an insertion then, not a correction. On the reference model the 69 territories of the feed are at 1.1 to 6.3 nats
per token of their name, twelve made-up ones at 10.5 to 13.1. (How sure the model is of its own answer does not tell:
it is as sure about countries that do not exist.)

What it believes instead is kept with each fact: from every wording, those that only checks use included, greedy and
drawn, with the share of all answers that say the same.
"""

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from factd.daemon.ledger import Ledger
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.prompts import edits
from factd.daemon.prompts import probes as probing
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.evidence import Belief
from factd.store.model.facts import BaseAnswer, Fact

if TYPE_CHECKING:
    from factd.editor.scoring.score import Probe

INVENTED = ("Zorvanta", "Quillmere", "Bastrovia", "Ondrelle")
FAMILIAR_NATS = 2.5  # per token, that a name must be likelier than the made-up ones


def ask(
    workbench: Workbench, prompts: PromptSettings, facts: Sequence[Fact]
) -> dict[str, BaseAnswer]:
    """What the base model says about some facts, by id."""
    asked = {fact.id: probing.edit_probes(fact, prompts) for fact in facts}
    flat = [probe for probes in asked.values() for probe in probes]
    said = workbench.base_answers(flat)
    right = {(p.prompt, p.target): a.right for p, a in zip(flat, said, strict=True)}
    known = {id_ for id_, probes in asked.items() if all(right[p.prompt, p.target] for p in probes)}
    near = familiarity(workbench, prompts, [fact for fact in facts if fact.id not in known])
    strange = {id_ for id_, nats in near.items() if nats < FAMILIAR_NATS}

    def said_of(id_: str) -> BaseAnswer:
        return (
            BaseAnswer.KNOWN
            if id_ in known
            else BaseAnswer.UNKNOWN_SUBJECT
            if id_ in strange
            else BaseAnswer.OTHER
        )

    return {fact.id: said_of(fact.id) for fact in facts}


def familiarity(
    workbench: Workbench, prompts: PromptSettings, facts: Sequence[Fact]
) -> dict[str, float]:
    """How much likelier a subject's name is than made-up ones, in nats per token, by fact id.

    Facts are left out none of whose wordings has words before the subject.
    """
    from factd.editor.scoring.score import forced_scores

    names = {
        fact.id: [edits.names_in_place(fact, name, prompts) for name in ("", *INVENTED)]
        for fact in facts
    }
    flat = sorted({pair for rows in names.values() for row in rows for pair in row})
    scores = zip(flat, forced_scores(workbench.model(), flat), strict=True) if flat else ()
    nll = {pair: score for pair, (score, _) in scores}

    def nats(row: Sequence[tuple[str, str]]) -> float:
        return mean(nll[pair] for pair in row)

    return {
        id_: mean(nats(row) for row in others) - nats(own)
        for id_, (own, *others) in names.items()
        if own
    }


def note_beliefs(
    ledger: Ledger,
    workbench: Workbench,
    prompts: PromptSettings,
    planning: PlanningRules,
    facts: Sequence[Fact],
) -> list[Belief]:
    """Take and keep what the base model believes about some facts, per written language."""
    from factd.editor.scoring.beliefs import beliefs

    wordings = {
        (fact.id, language): [p.prompt for p in probes]
        for fact in facts
        for language, probes in _by_language(fact, prompts).items()
    }
    model = workbench.model()
    samples = planning.batch.ask_samples
    found = [
        Belief(fact_id=id_, language=language, **vars(opinion))
        for (id_, language), opinion in zip(
            wordings, beliefs(model, list(wordings.values()), samples=samples), strict=True
        )
    ]
    with ledger.begin() as session:
        queries.evidence.save_beliefs(session, found, model.fingerprint, now=ledger.now())
    return found


def _by_language(fact: Fact, prompts: PromptSettings) -> "dict[str, list[Probe]]":
    found: dict[str, list[Probe]] = {}
    for probe in probing.edit_probes(fact, prompts, unseen=True):
        found.setdefault(probe.language, []).append(probe)
    return found
