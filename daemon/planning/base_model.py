"""What the base model answers about facts before they are written.

A fact is known if the base model answers it right in every wording that would be edited, in every
written language.

A subject is unknown if its name, at its place in the relation's wordings, is about as unlikely as
made-up names. An edit would then be an insertion, not a correction. On the reference model the
names of the 69 territories of the feed cost 1.1 to 6.3 nats per token; twelve made-up names cost
10.5 to 13.1. (How sure the model is of its own answer does not tell: it is as sure about countries
that do not exist.)

What the base model believes instead is kept with each fact. It is asked in every wording, also in
those that only checks use, greedily and by sampling. The share of all answers that agree is kept
too.
"""

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from factd.daemon.ledger import Ledger
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.prompts import edits
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.prompts.longer_names import with_longer_names
from factd.daemon.prompts.probes import edit_probes
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.evidence import Belief
from factd.store.model.facts import BaseAnswer, Fact

if TYPE_CHECKING:
    from factd.editor.scoring.score import Probe

MADE_UP_NAMES = ("Zorvanta", "Quillmere", "Bastrovia", "Ondrelle")
FAMILIAR_NATS = 2.5  # per token; a familiar name is likelier than made-up ones by at least this


def query(
    workbench: Workbench,
    prompts: PromptSettings,
    facts: Sequence[Fact],
    *,
    known_facts: Sequence[Fact] = (),
) -> dict[str, BaseAnswer]:
    """Fact id -> whether the base model knows the fact, not even its subject, or something else.

    known_facts: facts of the base model. Their names tell an object from things with longer names.
    """
    asked = (probe for fact in facts for probe in edit_probes(fact, prompts))
    probes = with_longer_names(asked, (*known_facts, *facts))
    answers = workbench.base_answers(probes)
    wrong = {p.fact for p, answer in zip(probes, answers, strict=True) if not answer.right}
    known = {fact.id for fact in facts} - wrong
    familiarity = name_familiarity(workbench, prompts, [f for f in facts if f.id not in known])
    unfamiliar = {id_ for id_, nats in familiarity.items() if nats < FAMILIAR_NATS}

    def answer_about(id_: str) -> BaseAnswer:
        if id_ in known:
            return BaseAnswer.KNOWN
        return BaseAnswer.UNKNOWN_SUBJECT if id_ in unfamiliar else BaseAnswer.OTHER

    return {fact.id: answer_about(fact.id) for fact in facts}


def name_familiarity(
    workbench: Workbench, prompts: PromptSettings, facts: Sequence[Fact]
) -> dict[str, float]:
    """Fact id -> how much likelier the subject's name is than made-up names, in nats per token.

    A fact is left out if in each of its wordings the subject comes first.
    """
    from factd.editor.scoring.score import forced_scores  # needs torch

    names = {
        fact.id: [edits.names_in_wordings(fact, name, prompts) for name in ("", *MADE_UP_NAMES)]
        for fact in facts
    }
    flat = sorted({pair for rows in names.values() for row in rows for pair in row})
    scores = zip(flat, forced_scores(workbench.model(), flat), strict=True) if flat else ()
    nll = {pair: score for pair, (score, _) in scores}

    def nats(row: Sequence[tuple[str, str]]) -> float:
        return mean(nll[pair] for pair in row)

    return {
        id_: mean(nats(row) for row in made_up) - nats(own)
        for id_, (own, *made_up) in names.items()
        if own
    }


def save_beliefs(
    ledger: Ledger,
    workbench: Workbench,
    prompts: PromptSettings,
    planning: PlanningRules,
    facts: Sequence[Fact],
) -> list[Belief]:
    """What the base model believes about some facts, asked in each written language and stored."""
    from factd.editor.scoring.beliefs import beliefs  # needs torch

    wordings = {
        (fact.id, language): [probe.prompt for probe in probes]
        for fact in facts
        for language, probes in _probes_by_language(fact, prompts).items()
    }
    model = workbench.model()
    samples = planning.batch.ask_samples
    believed = beliefs(model, list(wordings.values()), samples=samples)
    rows = [
        Belief(fact_id=id_, language=language, **vars(belief))
        for (id_, language), belief in zip(wordings, believed, strict=True)
    ]
    with ledger.begin() as session:
        queries.evidence.save_beliefs(session, rows, model.fingerprint, now=ledger.now())
    return rows


def _probes_by_language(fact: Fact, prompts: PromptSettings) -> "dict[str, list[Probe]]":
    probes: dict[str, list[Probe]] = {}
    for probe in edit_probes(fact, prompts, unseen=True):
        probes.setdefault(probe.language, []).append(probe)
    return probes
