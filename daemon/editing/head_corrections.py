"""Head corrections in the daemon.

They are trained on the live release and added to every later candidate while they are on.
"""

from dataclasses import replace
from typing import Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts import edits
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import FactStatus

UNCHANGED = 300  # known facts whose answers the corrections must not change


def train(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    language: str,
    *,
    count: int,
    progress: Progress,
) -> dict[str, Any]:
    """Train corrections of a language on the facts of the live release, save them, switch them on.

    count: heads to correct. Raises: Refused: only the base model is live, or the configured method
    writes no values. EditorError: too few facts are answered right in the language.
    """
    from factd.editor.deltas.delta import load_delta  # needs torch
    from factd.editor.heads.corrections import save_corrections, without_heads
    from factd.editor.heads.training import HeadSettings
    from factd.editor.methods._write import WriteSettings
    from factd.editor.methods.memat import train_corrections

    settings = workbench.method_settings()
    if not isinstance(settings, WriteSettings):
        raise Refused(
            "the configured method writes no values; head corrections need memit or one like it"
        )
    with ledger.begin() as session:
        live = queries.releases.live_release(session)
        if live is None or live.candidate_id is None:
            raise Refused(
                "only the base model is live; publish a release, then train head corrections"
            )
        live_ids = set(live.fact_ids)
        facts = [f for f in queries.facts.candidate_set(session) if f.id in live_ids]
        before = queries.facts.base_counterparts(session, facts)
        known = queries.facts.list_facts(session, status=(FactStatus.KNOWN,))
    batch = edits.edit_batch(facts, before, replace(prompts, write=(language,)))
    chosen = edits.stable_sample(known, UNCHANGED, language)
    unchanged = edits.first_edit_prompts(chosen, language, prompts.catalogue)
    trained = train_corrections(
        workbench.model(),
        batch.edits,
        without_heads(load_delta(paths.candidate(live.candidate_id) / "delta")),
        language,
        heads=HeadSettings(count=count, lr=0.03, epochs=2),
        settings=settings,
        still=unchanged,
        progress=progress,
    )
    save_corrections(trained, workbench.workspace)
    return {
        "language": language,
        "id": trained.id,
        "heads": len(trained.heads),
        "facts": trained.facts,
    }


def differ_from_live(ledger: Ledger, paths: Paths, workbench: Workbench) -> bool:
    """Whether other head corrections are switched on than the live release has. Loads no model.

    A release of the base alone gets no head corrections, so for it the answer is always no.
    """
    with ledger.begin() as session:
        live = queries.releases.live_release(session)
    if live is None or live.candidate_id is None or not live.fact_ids:
        return False
    folder = paths.candidate(live.candidate_id) / "delta"
    if not (workbench.workspace / "heads").exists() or not folder.exists():
        return False
    from factd.editor.deltas.delta import read_delta_manifest  # needs torch
    from factd.editor.heads.corrections import switched_on

    about = read_delta_manifest(folder)
    wanted = [held.id for held in switched_on(workbench.workspace, about["base_fingerprint"])]
    return wanted != list(about["settings"].get("head_corrections", []))
