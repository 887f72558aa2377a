"""What is looked at again before a plan is written.

Sources are asked whether they still say the same, new facts are screened, the base model is asked
what it says today, and the wordings are tried. Each step takes a plan and gives a plan, or reasons
against some of its facts.
"""

from collections.abc import Mapping

from factd.daemon.evaluation import probe_sets
from factd.daemon.ingestion.pull import recheck
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.planning import base_model, screening
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.planning.name_index import NameIndex
from factd.daemon.planning.plan import Planned, narrowed
from factd.daemon.planning.wordings import broken_wordings
from factd.daemon.plugins import ConfiguredSource
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact, Ruling

# A fact that the base model knows makes room for another fact, which the base is asked about too.
QUERY_ROUNDS = 5


def rechecked(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    sources: Mapping[str, ConfiguredSource],
    planned: Planned,
) -> Planned:
    """The plan after its new facts' sources were asked again. Facts of a silent source wait."""
    subjects: dict[str, list[str]] = {}
    for fact in planned.new:
        subjects.setdefault(fact.provenance.channel, []).append(fact.subject.id)
    unsure = recheck(ledger, prompts, sources, subjects)
    return narrowed(ledger, prompts, planning, planned, unsure=unsure)


def screened(
    ledger: Ledger, prompts: PromptSettings, planning: PlanningRules, planned: Planned
) -> tuple[screening.SuspectFact, ...]:
    """The new facts of a plan that must not be written.

    Facts that an operator approved or pinned are not screened.
    """
    with ledger.read() as session:
        of_the_base = queries.facts.held_by_base(session, limit=probe_sets.MAX_KNOWN_FACTS)
    known = [fact for fact in of_the_base if fact.relation in prompts.catalogue]
    return screening.screen(
        [fact for fact in planned.new if not _approved(ledger, fact)],
        planned.earlier,
        NameIndex.of([*known, *planned.earlier], prompts.catalogue),
        prompts.catalogue,
        relation_share=planning.screen.relation_share,
    )


def _approved(ledger: Ledger, fact: Fact) -> bool:
    with ledger.read() as session:
        verdict = queries.facts.verdicts(session, *fact.update.pair).get(fact.object.id)
    return verdict is not None and verdict.ruling in (Ruling.APPROVED, Ruling.PINNED)


def without_known(
    ledger: Ledger,
    workbench: Workbench,
    prompts: PromptSettings,
    planning: PlanningRules,
    planned: Planned,
) -> Planned:
    """The plan after the base model was asked about each new fact. What it knows is not written."""
    for _ in range(QUERY_ROUNDS):
        fresh = [fact for fact in planned.new if not fact.base_answer]
        if not fresh or not planning.batch.ask_base:
            break
        _forget_answers_of_another_base(ledger, workbench)
        known = probe_sets.known_facts(ledger, prompts)
        answers = base_model.query(workbench, prompts, fresh, known_facts=known)
        with ledger.begin() as session:
            queries.resolution.save_base_answers(
                session, answers, ledger.resolver, now=ledger.now()
            )
        base_model.save_beliefs(ledger, workbench, prompts, planning, fresh)
        log.info("base model asked", facts=len(answers), **_tally(answers))
        planned = narrowed(ledger, prompts, planning, planned)
    return planned


def _forget_answers_of_another_base(ledger: Ledger, workbench: Workbench) -> None:
    """Answers of an earlier base model do not count for this one."""
    fingerprint = workbench.model().fingerprint
    with ledger.begin() as session:
        if queries.releases.queried_base(session) != fingerprint:
            queries.resolution.forget_base_answers(session, ledger.resolver, now=ledger.now())
            queries.releases.save_queried_base(session, fingerprint, now=ledger.now())


def _tally(answers: Mapping[str, str]) -> dict[str, int]:
    values = list(answers.values())
    return {answer.replace(" ", "_"): values.count(answer) for answer in set(values)}


def badly_worded(
    ledger: Ledger, workbench: Workbench, prompts: PromptSettings, planned: Planned
) -> dict[str, str]:
    """The new facts whose relation has a broken wording, and why. Loads the base model."""
    known = probe_sets.known_facts(ledger, prompts)
    relations = {fact.relation for fact in planned.new}
    broken = broken_wordings(workbench, prompts, relations, known)
    return {fact.id: broken[fact.relation] for fact in planned.new if fact.relation in broken}
