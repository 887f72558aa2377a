"""`factd apply`: the editor on a checkpoint and a file of edits, without store or daemon."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta
    from factd.editor.edits import Edit
    from factd.editor.exams.report import CheckReport
    from factd.editor.models.model import EditableModel
    from factd.editor.reports.edit_page import Figures
    from factd.editor.scoring.score import Probe


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be applied."""

    model: Path
    edits: Path
    out: Path
    method: str = "memit"
    languages: tuple[
        str, ...
    ] = ()  # that are written; the others of the file are asked only; empty: all
    table: Mapping[str, Any] = field(default_factory=dict)  # settings of the method

    def beside(self, ending: str) -> Path:
        """A file or folder next to the edited checkpoint."""
        return self.out.with_name(self.out.name + ending)


def apply_edits(job: Job, *, progress: Progress) -> dict[str, Any]:
    """Write the edited checkpoint to `out`, read it again in a fresh process, write OUT.report.json and .html beside it.

    Raises: Refused: `out` is there already. EditorError: what the editor refuses.
    """
    from factd.editor import plugins
    from factd.editor.deltas.checkpoint import write_checkpoint
    from factd.editor.deltas.reload import verify_reload
    from factd.editor.edits import EditBatch, read_lines
    from factd.editor.exams.exam import Exam
    from factd.editor.exams.report import run_checks
    from factd.editor.models.model import load_model
    from factd.editor.settings import settings_from

    if job.out.exists():
        raise Refused(f"{job.out} is there already; name a folder that is not")
    module = plugins.load("factd.editor.methods", job.method)
    lines = read_lines(job.edits)
    settings = settings_from(module.Settings, table_for(job, module.Settings))
    model = load_model(job.model)
    terminator = str(getattr(settings, "terminator", ""))
    refuse_present_answers(model, job.edits, lines)
    every = [edit for _, edit in lines]
    batch = EditBatch.of(written(every, job, takes_all=job.method == "memat"))
    started = time.monotonic()
    work = job.beside(".workspace")
    delta = module.edit(model, batch, settings=settings, workspace=work, progress=progress)
    edited = time.monotonic()
    exam = Exam(probes=probes(every, job.languages))
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


def table_for(job: Job, settings: Any) -> dict[str, Any]:
    """Settings of the method: what was given over the published preset of the model, if there is one."""
    from factd.editor.api import settings_table

    given = dict(job.table)
    if job.method == "memat" and job.languages:
        given = {"write_languages": list(job.languages), **given}
    return settings_table(job.model, settings, given)


def written(edits: "Sequence[Edit]", job: Job, *, takes_all: bool) -> "list[Edit]":
    """The edits that the method gets. MEMAT takes those of other languages too: its heads are trained on them.

    Raises: Refused: no edit is in the languages to write.
    """
    found = [e for e in edits if not job.languages or e.language in job.languages]
    if not found:
        held = ", ".join(sorted({e.language for e in edits}))
        raise Refused(f"no edit is in {', '.join(job.languages)}; the file has {held}")
    return list(edits) if takes_all else found


def refuse_present_answers(
    model: "EditableModel", path: Path, lines: "Sequence[tuple[int, Edit]]"
) -> None:
    """Raises: BadEdit: a line asks for what the model says already."""
    from factd.editor.errors import BadEdit
    from factd.editor.scoring.score import greedy_answers, is_right

    said = greedy_answers(model, [edit.prompt.format(edit.subject) for _, edit in lines])
    for (number, edit), text in zip(lines, said, strict=True):
        if is_right(text, (edit.target_new,)):
            raise BadEdit(
                f"{path} line {number}: the model says {edit.target_new!r} already; leave the line out"
            )


def probes(edits: "Sequence[Edit]", languages: Sequence[str]) -> "tuple[Probe, ...]":
    """One question per edit, those of languages that are not written included."""
    from factd.editor.scoring.score import Probe

    held = tuple(languages) or tuple(sorted({e.language for e in edits}))
    return tuple(
        Probe(
            kind="edit",
            language=e.language,
            prompt=e.prompt.format(e.subject),
            target=e.target_new,
            accepted=(e.target_new,),
            contrast=e.target_true,
            written_in=held,
        )
        for e in edits
    )


def write_reports(
    job: Job,
    model: "EditableModel",
    delta: "Delta",
    report: "CheckReport",
    data: dict[str, Any],
) -> None:
    """OUT.report.json and OUT.report.html."""
    from factd.editor.reports.edit_page import report_page

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


def figures(job: Job, model: "EditableModel", delta: "Delta", report: "CheckReport") -> "Figures":
    """The report's pictures."""
    from factd.editor.heads.corrections import list_corrections
    from factd.editor.reports.plots import answers_figure, norms_figure, relevance_figure

    found = {
        "right answers; red: the base model": answers_figure(report.measurements),
        "the edited weights": norms_figure(delta.diagnostics),
    }
    used = delta.settings.get("head_corrections", [])
    for held, _ in list_corrections(job.beside(".workspace"), model.fingerprint):
        if held.id in used:
            title = f"head relevance, {held.language}; the corrected heads are framed"
            found[title] = relevance_figure(held.relevance, held.heads)
    return found
