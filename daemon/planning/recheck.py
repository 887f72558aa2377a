"""The plan that may be written: sources asked again right before, the base model asked about each new fact, names looked at."""

from collections.abc import Mapping
from dataclasses import replace

from factd.daemon.evaluation import probe_sets
from factd.daemon.ingestion.pull import recheck
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.planning import base_model, screening
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.planning.name_index import Register
from factd.daemon.planning.plan import Planned, plan
from factd.daemon.planning.wordings import broken_wordings
from factd.daemon.plugins import ConfiguredSource
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact, Ruling

# what the base knows already makes room for other facts, which are asked about too
ASKING_ROUNDS = 5


def certain(
    ledger: Ledger,
    workbench: Workbench,
    prompts: PromptSettings,
    planning: PlanningRules,
    sources: Mapping[str, ConfiguredSource],
) -> Planned:
    """A plan whose sources were asked again, right before, and whose facts the base model was asked about.

    Facts of a source that could not be asked wait.
    """
    planned = plan(ledger, prompts, planning)
    found = {fact.id: fact for fact in planned.facts}
    subjects: dict[str, list[str]] = {}
    for id_ in planned.added:
        subjects.setdefault(found[id_].provenance.channel, []).append(found[id_].subject.id)
    unsure = recheck(ledger, prompts, sources, subjects)
    for _ in range(ASKING_ROUNDS):
        planned = plan(ledger, prompts, planning, unsure=unsure)
        fresh = [f for f in planned.facts if f.id in planned.added and not f.asked]
        if not fresh or not planning.batch.ask_base:
            break
        _forget_another_base(ledger, workbench)
        said = base_model.ask(workbench, prompts, fresh)
        with ledger.begin() as session:
            queries.settle.note_answers(session, said, ledger.judge, now=ledger.now())
        base_model.note_beliefs(ledger, workbench, prompts, planning, fresh)
        log.info("base model asked", facts=len(said), **_tally(said))
    return planned


def _forget_another_base(ledger: Ledger, workbench: Workbench) -> None:
    fingerprint = workbench.model().fingerprint
    with ledger.begin() as session:
        if queries.releases.base_asked(session) != fingerprint:
            queries.settle.forget_answers(session, ledger.judge, now=ledger.now())
            queries.releases.note_base_asked(session, fingerprint, now=ledger.now())


def _tally(said: Mapping[str, str]) -> dict[str, int]:
    return {name.replace(" ", "_"): list(said.values()).count(name) for name in set(said.values())}


def screened(
    ledger: Ledger, prompts: PromptSettings, planning: PlanningRules, planned: Planned
) -> tuple[screening.Suspect, ...]:
    """The new facts of a plan that must not be written; what an operator approved or pinned passes."""
    new = [fact for fact in planned.facts if fact.id in planned.added]
    earlier = [fact for fact in planned.facts if fact.id not in planned.added]
    with ledger.read() as session:
        held = queries.facts.of_the_base(session, limit=probe_sets.KNOWN)
    known = [fact for fact in held if fact.relation in prompts.catalogue]
    return screening.screen(
        [fact for fact in new if not _approved(ledger, fact)],
        earlier,
        Register.of([*known, *earlier], prompts.catalogue),
        prompts.catalogue,
        relation_share=planning.screen.relation_share,
    )


def badly_worded(
    ledger: Ledger, workbench: Workbench, prompts: PromptSettings, planned: Planned
) -> dict[str, str]:
    """The new facts whose relation has a broken wording, and why. Loads the base model."""
    new = [fact for fact in planned.facts if fact.id in planned.added]
    known = probe_sets.known_facts(ledger, prompts)
    broken = broken_wordings(workbench, prompts, {fact.relation for fact in new}, known)
    return {fact.id: broken[fact.relation] for fact in new if fact.relation in broken}


def _approved(ledger: Ledger, fact: Fact) -> bool:
    with ledger.read() as session:
        verdict = queries.facts.verdicts(session, *fact.update.pair).get(fact.object.id)
    return verdict is not None and verdict.ruling in (Ruling.APPROVED, Ruling.PINNED)


def planned_again(
    ledger: Ledger, prompts: PromptSettings, planning: PlanningRules, planned: Planned
) -> Planned:
    """The plan as it is now, with none but the new facts that it had: what was set aside is gone, what it replaced is back."""
    now = plan(ledger, prompts, planning)
    with ledger.read() as session:
        live = set(queries.releases.release(session, now.live).fact_ids)
    wanted = live | set(planned.added)
    facts = tuple(fact for fact in now.facts if fact.id in wanted)
    ids = {fact.id for fact in facts}
    return replace(
        now,
        facts=facts,
        added=tuple(fact.id for fact in facts if fact.id not in live),
        removed=tuple(sorted(live - ids)),
    )


def heads_changed(ledger: Ledger, paths: Paths, workbench: Workbench) -> bool:
    """Other head corrections are switched on than the live release has; the base alone gets none. Loads no model."""
    with ledger.begin() as session:
        live = queries.releases.live_release(session)
    if live is None or live.candidate_id is None or not live.fact_ids:
        return False
    folder = paths.candidate(live.candidate_id) / "delta"
    if not (workbench.workspace / "heads").exists() or not folder.exists():
        return False
    from factd.editor.deltas.delta import delta_about
    from factd.editor.heads.corrections import switched_on

    about = delta_about(folder)
    wanted = [c.id for c in switched_on(workbench.workspace, about["base_fingerprint"])]
    return wanted != list(about["settings"].get("head_corrections", []))
