"""`factd apply`: the editor on a checkpoint and a file of edits, without store or daemon."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.editing.settings import (
    MINUTES,
    FoundSettings,
    SettingsChain,
    refuse_what_nothing_finds,
    tunings_folder,
)
from factd.daemon.editing.tune import TuningJob, facts_to_tune_on, searched_settings
from factd.daemon.editing.written_records import Selection, read_file, select_records
from factd.daemon.errors import Refused
from factd.editor import plugins
from factd.editor.edits import EditBatch
from factd.editor.errors import EditorError
from factd.editor.settings import settings_from
from factd.editor.tuning.kept import KeptTuning, KeptTunings
from factd.store.catalogue.catalogue import load_catalogue

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta
    from factd.editor.exams.report import CheckReport
    from factd.editor.models.model import EditableModel
    from factd.editor.reports.edit_page import Figures


@dataclass(frozen=True, kw_only=True)
class ApplyJob:
    """The arguments of one `factd apply`."""

    model: Path
    edits: Path
    out: Path
    method: str = "memit"
    languages: tuple[str, ...] = ()  # to write; edits in others are only asked; empty: write all
    format_name: str = ""  # of the edits, a file of editor/datasets/formats; "": found by looking
    limit: int | None = None  # facts to write; None: all
    table: Mapping[str, Any] = field(default_factory=dict)  # given settings of the method
    table_from: str = "--set"  # where they were given
    search_minutes: float = MINUTES  # that a search for settings may take, if there are none
    always_search: bool = False  # also if settings were kept for the model, or it has a preset
    kept: KeptTunings = field(default_factory=lambda: KeptTunings(tunings_folder()))

    def beside(self, ending: str) -> Path:
        """A file or folder next to the edited checkpoint."""
        return self.out.with_name(self.out.name + ending)


def apply_edits(job: ApplyJob, *, progress: Progress) -> dict[str, Any]:
    """Write the edited checkpoint to `out`, and OUT.report.json and OUT.report.html beside it.

    Records that cannot or need not be written are listed in the report. The checkpoint is loaded
    again in a fresh process and compared with the delta in memory.
    Raises: Refused: `out` exists, or nothing is left to write. EditorError: the editor refuses.
    """
    from factd.editor.deltas.checkpoint import write_checkpoint  # needs torch
    from factd.editor.deltas.reload import verify_reload
    from factd.editor.exams.exam import Exam
    from factd.editor.exams.report import run_checks
    from factd.editor.models.model import load_model

    if job.out.exists():
        raise Refused(f"{job.out} is there already; name a folder that does not exist yet")
    module = plugins.load("factd.editor.methods", job.method)
    records = read_file(job.edits, job.format_name)
    refuse_what_nothing_finds(module.Settings, given_settings(job))
    progress("loading the model", 0, 1)
    model = load_model(job.model)
    progress("loading the model", 1, 1)
    selection = select_records(
        model, records, languages=job.languages, limit=job.limit, progress=progress
    )
    found = settings_for(job, model, selection, progress)
    settings = settings_from(module.Settings, found.table)
    terminator = str(getattr(settings, "terminator", ""))
    started = time.monotonic()
    delta, selection = solved(job, model, settings, selection, progress)
    edited = time.monotonic()
    exam = Exam(probes=selection.probes(job.languages))
    report = run_checks(model, exam, delta=delta, terminator=terminator)
    write_checkpoint(
        job.model, delta, job.out, {"edits": len(selection.written), "method": job.method}
    )
    error = verify_reload(model, delta, job.out)
    data = {
        **report.as_json(),
        "edits": len(selection.written),
        "format": selection.format_name,
        "skipped": [asdict(record) for record in selection.skipped],
        "method": job.method,
        "languages": sorted({r.edit.language for r in selection.written}),
        "delta_id": delta.id,
        "settings": dict(delta.settings),
        "settings_source": found.source,
        "notes": list(found.notes),
        "seconds": round(edited - started, 3),
        "seconds_checks": report.seconds,
        "reload_error": error,
    }
    write_reports(job, model, delta, report, data)
    return data


def settings_for(
    job: ApplyJob, model: "EditableModel", selection: Selection, progress: Progress
) -> FoundSettings:
    """The settings of the method, and where they come from.

    A search uses no fact whose subject is edited, or is in a question of the report.
    Raises: BadSettings, EditorError, as `SettingsChain.find`.
    """
    languages = [record.edit.language for record in selection.written]
    subjects = [edit.subject for edit in selection.edits(takes_all=True)]
    asked = [*subjects, *(probe.prompt for probe in selection.probes(job.languages))]
    language = max(sorted(set(languages)), key=languages.count)

    def search() -> KeptTuning:
        tuning = TuningJob(language=language, minutes=job.search_minutes)
        facts = facts_to_tune_on(load_catalogue(), language, asked=asked)
        tuned = searched_settings(model, facts, job.beside(".workspace"), tuning, progress=progress)
        job.kept.save(tuned)
        return tuned

    chain = SettingsChain(
        method=job.method,
        model=job.model,
        kept=(job.kept,),
        search=search,
        always_search=job.always_search,
    )
    return chain.find(given_settings(job), job.table_from, model.fingerprint)


def given_settings(job: ApplyJob) -> dict[str, Any]:
    """The settings of the method that the command gives."""
    if job.method == "memat" and job.languages:
        return {"write_languages": list(job.languages), **job.table}
    return dict(job.table)


def solved(
    job: ApplyJob, model: "EditableModel", settings: Any, selection: Selection, progress: Progress
) -> "tuple[Delta, Selection]":
    """The delta of the selected edits, and the selection without the facts that had none.

    Raises: EditorError: the error is not about one fact, or no other fact is left.
    """
    edit = plugins.load("factd.editor.methods", job.method).edit
    work = job.beside(".workspace")
    while True:
        batch = EditBatch.of(selection.edits(takes_all=job.method == "memat"))
        try:
            delta = edit(model, batch, settings=settings, workspace=work, progress=progress)
            return delta, selection
        except EditorError as error:
            selection = selection.without(error.group, str(error))
            if not error.group or not selection.written:
                raise


def write_reports(
    job: ApplyJob,
    model: "EditableModel",
    delta: "Delta",
    report: "CheckReport",
    data: dict[str, Any],
) -> None:
    """Write OUT.report.json and OUT.report.html."""
    from factd.editor.reports.edit_page import report_page  # needs torch

    text = json.dumps(data, ensure_ascii=False, indent=1)
    job.beside(".report.json").write_text(text, encoding="utf-8")
    about = {
        "model": str(job.model),
        "method": job.method,
        "edits": data["edits"],
        "languages written": ", ".join(data["languages"]),
        "seconds": data["seconds"],
        "settings from": data["settings_source"],
        "delta": delta.id,
        "reloaded in a fresh process, largest difference of logits": f"{data['reload_error']:.1g}",
    }
    page = report_page(
        f"{data['edits']} edits of {job.model.name} by {job.method}",
        about | {f"setting {k}": str(v) for k, v in delta.settings.items() if k != "templates"},
        data["measurements"],
        data["examples"],
        figures(job, model, delta, report),
        skipped=data["skipped"],
    )
    job.beside(".report.html").write_text(page, encoding="utf-8")


def figures(
    job: ApplyJob, model: "EditableModel", delta: "Delta", report: "CheckReport"
) -> "Figures":
    """The plots of the report, by title."""
    from factd.editor.heads.corrections import list_corrections  # needs torch
    from factd.editor.reports.plots import answers_figure, norms_figure, relevance_figure

    plots = {
        "right answers; red: the base model": answers_figure(report.measurements),
        "the edited weights": norms_figure(delta.diagnostics),
    }
    used = delta.settings.get("head_corrections", [])
    for held, _ in list_corrections(job.beside(".workspace"), model.fingerprint):
        if held.id in used:
            title = f"head relevance, {held.language}; the corrected heads are framed"
            plots[title] = relevance_figure(held.relevance, held.heads)
    return plots
