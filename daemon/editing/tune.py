"""`factd tune`: from known facts to settings, and a page with the plots of the search."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.editor.edits import ANY, Edit
from factd.editor.errors import BadEdit
from factd.editor.settings import settings_from
from factd.editor.tuning.kept import SEARCHED, KeptTuning, settings_toml, stamped
from factd.editor.tuning.presets import preset_for, presets
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue
from factd.store.catalogue.common_facts import LISTED_LANGUAGE, common_facts
from factd.store.model.facts import FactStatus

if TYPE_CHECKING:
    from factd.editor.models.model import EditableModel
    from factd.editor.tuning.search import Tuned

FEW_FACTS = 150  # in a language; then the English ones are asked, too


@dataclass(frozen=True, kw_only=True)
class TuningJob:
    """How a search is done."""

    language: str = LISTED_LANGUAGE  # of the facts, BCP 47
    minutes: float = 10.0
    edits: int = 24  # facts that are edited in a trial
    given: Mapping[str, Any] = field(default_factory=dict)  # settings that are not searched
    clock: Callable[[], float] = time.monotonic  # seconds
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def facts_to_tune_on(catalogue: Catalogue, language: str, *, asked: Sequence[str]) -> list[Edit]:
    """Common facts in every wording, without those whose subject is in what is asked later.

    What settings are searched on is never what they are reported on. If there are few facts in the
    language, the English ones are there, too. asked: names or whole questions.
    """
    facts = [*common_facts(catalogue, language)]
    if len(facts) < FEW_FACTS and language != LISTED_LANGUAGE:
        facts += common_facts(catalogue, LISTED_LANGUAGE)
    words = f" {' '.join(' '.join(asked).casefold().split())} "
    return [
        Edit(
            prompt=prompt,
            subject=fact.subject,
            target_new=ANY,
            target_true=fact.object,
            language=fact.language,
        )
        for fact in facts
        if not re.search(rf"\b{re.escape(fact.subject.casefold())}\b", words)
        for prompt in fact.prompts
    ]


def known_facts_of_store(ledger: Ledger, prompts: PromptSettings, language: str) -> list[Edit]:
    """The known facts of the store in a language, in every wording of the catalogue.

    Raises: Refused: there are none.
    """
    with ledger.begin() as session:
        known = queries.facts.list_facts(session, status=(FactStatus.KNOWN,))
    rows = []
    for fact in known:
        wordings = prompts.catalogue[fact.relation].wordings.get(language)
        if wordings and language in fact.subject.labels and language in fact.object.labels:
            rows += [
                Edit(
                    prompt=prompt,
                    subject=fact.subject.labels[language],
                    target_new=ANY,
                    target_true=fact.object.labels[language],
                    language=language,
                )
                for prompt in (*wordings.edit, *wordings.check)
            ]
    if not rows:
        raise Refused(
            f"the store holds no known facts in {language!r}; give --facts FILE, ingest some with "
            "`factd ingest FILE --known`, or give --common to ask for common facts of the world"
        )
    return rows


def write_preset(model: Path, out: Path) -> dict[str, Any]:
    """Write the published settings of a model. Raises: Refused: there are none for this model."""
    from factd.editor.deltas.checkpoint import read_config  # needs torch
    from factd.editor.models.model import family_of

    family_of(model)
    preset = preset_for(read_config(model))
    if preset is None:
        held = ", ".join(p.name for p in presets())
        raise Refused(
            f"{model} has no published settings (there are some for {held}); leave --preset out"
        )
    write_settings(out, dict(preset.memit), preset.source)
    return {
        "preset": preset.name,
        "source": preset.source,
        "settings": dict(preset.memit),
        "out": str(out),
        "lines": [f"wrote {out}: {preset.name}, {preset.source}"],
    }


def search(
    model: "EditableModel",
    rows: Sequence[Edit],
    workspace: Path,
    job: TuningJob,
    *,
    progress: Progress,
) -> "Tuned":
    """The settings of MEMIT that suit a model. Raises: BadEdit: it knows too few of the facts."""
    from factd.editor.tuning.budget import TimeBudget  # needs torch
    from factd.editor.tuning.known import known_facts
    from factd.editor.tuning.search import tune

    return tune(
        model,
        known_facts(rows),
        workspace=workspace,
        given=job.given,
        budget=TimeBudget(job.minutes * 60, job.clock),
        edits=job.edits,
        progress=progress,
    )


def searched_settings(
    model: "EditableModel",
    rows: Sequence[Edit],
    workspace: Path,
    job: TuningJob,
    *,
    progress: Progress,
) -> KeptTuning:
    """The settings that `search` finds, with their source, ready to be kept.

    Raises: Refused: the model knows too few of the facts.
    """
    try:
        tuned = search(model, rows, workspace, job, progress=progress)
    except BadEdit as error:
        raise Refused(
            f"there are no settings for {model.path}, and none can be searched ({error}); search "
            f"with facts of your own, `factd tune {model.path} --facts FILE`, or give settings"
        ) from error
    return kept_tuning(model.fingerprint, tuned, job)


def kept_tuning(fingerprint: str, tuned: "Tuned", job: TuningJob) -> KeptTuning:
    """A search's result with its source, ready to be kept."""
    written = max(point.edits for point in tuned.points)
    source = (
        f"factd tune, {len(tuned.points)} trials of up to {written} edits in {job.language}, "
        f"{tuned.known} known facts of {tuned.asked} asked, {tuned.seconds / 60:.1f} minutes"
    )
    return KeptTuning(
        fingerprint=fingerprint,
        method=SEARCHED,
        source=stamped(source, job.now()),
        settings=tuned.settings,
    )


def tune_model(
    model: Path,
    rows: Sequence[Edit],
    out: Path,
    *,
    table: Mapping[str, Any],
    job: TuningJob,
    progress: Progress,
    keep: Callable[[KeptTuning], Path] | None = None,
) -> dict[str, Any]:
    """Search settings. Writes OUT (settings), OUT.json (all trials) and OUT.html (the plots).

    keep: keeps the result for later commands, if none of its settings were given.
    """
    from factd.editor.methods._write import WriteSettings  # needs torch
    from factd.editor.models.model import load_model

    progress("loading the model", 0, 1)
    searched = ("layers", "v_lr", "second_moment_weight")
    kept = {k: v for k, v in table.items() if k not in (*searched, "protect_weight")}
    checked = settings_from(WriteSettings, {"layers": [0], **kept})
    loaded = load_model(model)
    progress("loading the model", 1, 1)
    own = replace(job, given={k: getattr(checked, k) for k in kept})
    workspace = out.with_name(out.name + ".workspace")
    tuned = search(loaded, rows, workspace, own, progress=progress)
    result = kept_tuning(loaded.fingerprint, tuned, job)
    settings = {**kept, **{k: v for k, v in tuned.settings.items() if k not in kept}}
    write_settings(out, settings, f"{model.name}: {result.source}")
    data = asdict(tuned) | {"settings": settings, "source": result.source, "out": str(out)}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    page = out.with_suffix(".html")
    page.write_text(tuned_page(model, tuned), encoding="utf-8")
    lines = [f"wrote {out}: {best_line(tuned)}", f"plots in {page}"]
    if keep is not None and not kept:
        lines.append(f"kept for this model in {keep(result)}")
    if tuned.skipped:
        lines.append(f"no time for {len(tuned.skipped)} more, the first: {tuned.skipped[0]}")
    return data | {"lines": lines}


def best_line(tuned: "Tuned") -> str:
    """The settings that were found, in one line."""
    return (
        f"layers {list(tuned.layers)}, targets {tuned.targets}, v_lr {tuned.v_lr:g}, "
        f"second_moment_weight {tuned.second_moment_weight:g}"
    )


def tuned_page(model: Path, tuned: "Tuned") -> str:
    """The page of a search: causal tracing, curves, and all trials."""
    from factd.editor.reports.edit_page import table_page  # needs torch
    from factd.editor.reports.plots import trace_figure, tuning_figure

    return table_page(
        f"tuning {model.name}",
        {
            "layers": str(list(tuned.layers)),
            "targets": tuned.targets,
            "v_lr": tuned.v_lr,
            "second_moment_weight": tuned.second_moment_weight,
            "compared at a locality of": round(tuned.level, 3),
            "facts known, of those asked": f"{tuned.known} of {tuned.asked}",
            "facts traced": tuned.trace.facts,
            "seconds": round(tuned.seconds),
            "skipped for lack of time": "; ".join(tuned.skipped) or "nothing",
        },
        [trial_row(point) for point in tuned.points],
        {
            "causal tracing": trace_figure(tuned.trace),
            "trials by layers": tuning_figure(tuned.points, tuned.level),
        },
    )


def trial_row(point: Any) -> dict[str, Any]:
    """A trial as a row of the page."""
    return {
        "layers": str(list(point.layers)),
        "targets": point.place.targets,
        "v_lr": point.v_lr,
        "second_moment_weight": point.second_moment_weight,
        "edits": point.edits,
        "efficacy, accuracy": point.efficacy.accuracy,
        "efficacy, magnitude": point.efficacy.magnitude,
        "paraphrase, accuracy": point.paraphrase.accuracy,
        "paraphrase, magnitude": point.paraphrase.magnitude,
        "neighbourhood success": point.neighbourhood.success,
        "kept": point.kept,
        "retained": point.retained,
        "score": point.score,
    }


def write_settings(out: Path, settings: Mapping[str, Any], source: str) -> None:
    """Write a TOML file with a [method.memit] table."""
    out.write_text(f"# {source}\n{settings_toml(settings, SEARCHED)}", encoding="utf-8")
