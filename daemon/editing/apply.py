"""`factd apply`: the editor on a checkpoint and a file of edits, without store or daemon."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.editor import plugins
from factd.editor.edits import Edit, EditBatch, read_lines
from factd.editor.errors import BadEdit
from factd.editor.settings import settings_from

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta
    from factd.editor.exams.report import CheckReport
    from factd.editor.models.model import EditableModel
    from factd.editor.reports.edit_page import Figures
    from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class ApplyJob:
    """The arguments of one `factd apply`."""

    model: Path
    edits: Path
    out: Path
    method: str = "memit"
    languages: tuple[str, ...] = ()  # to write; edits in others are only asked; empty: write all
    table: Mapping[str, Any] = field(default_factory=dict)  # settings of the method

    def beside(self, ending: str) -> Path:
        """A file or folder next to the edited checkpoint."""
        return self.out.with_name(self.out.name + ending)


def apply_edits(job: ApplyJob, *, progress: Progress) -> dict[str, Any]:
    """Write the edited checkpoint to `out`, and OUT.report.json and OUT.report.html beside it.

    The checkpoint is loaded again in a fresh process and compared with the delta in memory.
    Raises: Refused: `out` exists. EditorError: the editor refuses the edits.
    """
    from factd.editor.deltas.checkpoint import write_checkpoint  # needs torch
    from factd.editor.deltas.reload import verify_reload
    from factd.editor.exams.exam import Exam
    from factd.editor.exams.report import run_checks
    from factd.editor.models.model import load_model

    if job.out.exists():
        raise Refused(f"{job.out} is there already; name a folder that does not exist yet")
    module = plugins.load("factd.editor.methods", job.method)
    lines = read_lines(job.edits)
    settings = settings_from(module.Settings, table_for(job, module.Settings))
    model = load_model(job.model)
    terminator = str(getattr(settings, "terminator", ""))
    refuse_known_answers(model, job.edits, lines)
    edits = [edit for _, edit in lines]
    batch = EditBatch.of(edits_to_write(edits, job, takes_all=job.method == "memat"))
    started = time.monotonic()
    work = job.beside(".workspace")
    delta = module.edit(model, batch, settings=settings, workspace=work, progress=progress)
    edited = time.monotonic()
    exam = Exam(probes=edit_probes(edits, job.languages))
    report = run_checks(model, exam, delta=delta, terminator=terminator)
    write_checkpoint(job.model, delta, job.out, {"edits": len(batch), "method": job.method})
    error = verify_reload(model, delta, job.out)
    data = {
        **report.as_json(),
        "edits": len(batch),
        "method": job.method,
        "languages": sorted({edit.language for edit in batch.edits}),
        "delta_id": delta.id,
        "settings": dict(delta.settings),
        "seconds": round(edited - started, 3),
        "seconds_checks": report.seconds,
        "reload_error": error,
    }
    write_reports(job, model, delta, report, data)
    return data


def table_for(job: ApplyJob, settings: Any) -> dict[str, Any]:
    """The given settings of the method, and for the rest the published preset of the model."""
    from factd.editor.api import settings_table  # needs torch

    given = dict(job.table)
    if job.method == "memat" and job.languages:
        given = {"write_languages": list(job.languages), **given}
    return settings_table(job.model, settings, given)


def edits_to_write(edits: Sequence[Edit], job: ApplyJob, *, takes_all: bool) -> list[Edit]:
    """The edits that the method gets.

    takes_all: MEMAT takes those of other languages too, because its heads are trained on them.
    Raises: Refused: no edit is in the languages to write.
    """
    chosen = [e for e in edits if not job.languages or e.language in job.languages]
    if not chosen:
        held = ", ".join(sorted({e.language for e in edits}))
        raise Refused(f"no edit is in {', '.join(job.languages)}; the file has {held}")
    return list(edits) if takes_all else chosen


def refuse_known_answers(
    model: "EditableModel", path: Path, lines: Sequence[tuple[int, Edit]]
) -> None:
    """Raises: BadEdit: the model gives the new answer of a line already."""
    from factd.editor.scoring.judge import is_right
    from factd.editor.scoring.score import greedy_answers  # needs torch

    answers = greedy_answers(model, [edit.prompt.format(edit.subject) for _, edit in lines])
    for (number, edit), answer in zip(lines, answers, strict=True):
        if is_right(answer, (edit.target_new,)):
            raise BadEdit(
                f"{path} line {number}: the model says {edit.target_new!r} already; "
                "leave the line out"
            )


def edit_probes(edits: Sequence[Edit], languages: Sequence[str]) -> "tuple[Probe, ...]":
    """One probe per edit, also for edits in languages that are not written."""
    from factd.editor.scoring.score import Probe  # needs torch

    written_in = tuple(languages) or tuple(sorted({e.language for e in edits}))
    return tuple(
        Probe(
            kind="edit",
            language=e.language,
            prompt=e.prompt.format(e.subject),
            target=e.target_new,
            accepted=(e.target_new,),
            contrast=e.target_true,
            written_in=written_in,
        )
        for e in edits
    )


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
        "delta": delta.id,
        "reloaded in a fresh process, largest difference of logits": f"{data['reload_error']:.1g}",
    }
    page = report_page(
        f"{data['edits']} edits of {job.model.name} by {job.method}",
        about | {f"setting {k}": str(v) for k, v in delta.settings.items() if k != "templates"},
        data["measurements"],
        data["examples"],
        figures(job, model, delta, report),
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
