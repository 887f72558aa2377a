"""One row of the table: edit with one method at one strength, then ask everything."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from factd.bench.public.asking import Outcome, as_lists, from_lists, outcomes
from factd.bench.public.in_context import extra_tokens, with_facts
from factd.bench.public.memory import peak_memory
from factd.bench.public.oracle import public_edit
from factd.bench.public.plan import BASE, FINE_TUNING_PREFIXES, IN_CONTEXT, PUBLIC, Entry
from factd.bench.public.records import Drawn
from factd.editor import plugins
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import EditBatch
from factd.editor.methods._write import WriteSettings, language_templates, second_moments
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.scoring.drift import text_scores

PUBLIC_VALUES = "public"  # folder of values: public MEMIT and public AlphaEdit have the same ones
VALUE_STEPS = "value steps"  # stage of the search for values (editor/values/cache.py)
TEXT = Path(__file__).with_name("held_out.txt")


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """What one method does at one strength, for the records of one seed."""

    outcomes: tuple[Outcome, ...]
    text: Mapping[str, Sequence[float]] = field(default_factory=dict)  # per held-out text: tokens,
    # base_nll, nll, kl, summed over its tokens; empty: the weights are the base's
    norms: Mapping[str, float] = field(default_factory=dict)  # name of a weight -> ‖ΔW‖ / ‖W‖
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # CPU seconds, by stage
    seconds_per_edit: float | None = None  # CPU seconds of one edit; None: not measured
    wall_seconds: float = 0.0  # of the whole row, asking included
    load: float = 0.0  # of the machine (average of a minute) when the row was finished
    peak_mib: float | None = None  # memory of the process while it edited
    extra_tokens: float | None = None  # that a question got in context

    def as_json(self) -> dict[str, Any]:
        """This row as JSON; see `row_from`."""
        return {**asdict(replace(self, outcomes=())), "outcomes": as_lists(self.outcomes)}


def row_from(data: Mapping[str, Any]) -> MethodRow:
    """A row from its JSON."""
    return MethodRow(**{**data, "outcomes": from_lists(data["outcomes"])})


def held_out() -> list[str]:
    """Short English texts that were written for this bench: no model was trained on them."""
    return TEXT.read_text(encoding="utf-8").splitlines()


def make_row(
    model: EditableModel,
    entry: Entry,
    drawn: Drawn,
    workspace: Path,
    progress: Progress = silent,
) -> MethodRow:
    """The row of an entry. The model is the same afterwards as before."""
    started = time.monotonic()
    probes = (*drawn.probes, *drawn.bystanders)
    edits = {record.id: record.edit for record in drawn.records}
    if entry.kind == BASE:
        row = MethodRow(outcomes=tuple(outcomes(model, probes)), text=_text(model, None))
    elif entry.kind == IN_CONTEXT:
        row = MethodRow(
            outcomes=tuple(outcomes(model, with_facts(probes, edits))),
            seconds_per_edit=0.0,
            extra_tokens=extra_tokens(model.tokenizer, list(edits.values())),
        )
    else:
        edited = _edited(model, entry, EditBatch.of(edits.values()), workspace, progress)
        with applied(model, edited.delta):
            found = tuple(outcomes(model, probes))
        row = replace(
            edited.row,
            outcomes=found,
            text=_text(model, edited.delta),
            norms=norm_ratios(model, edited.delta),
            settings=dict(edited.delta.settings),
        )
    return replace(row, wall_seconds=time.monotonic() - started, load=os.getloadavg()[0])


def norm_ratios(model: EditableModel, delta: Delta) -> dict[str, float]:
    """‖ΔW‖ / ‖W‖ of every changed tensor, by its name."""
    weights = dict(model.model.named_parameters())
    return {
        name: float(part.matrix().norm() / weights[name].norm())
        for name, part in delta.parts.items()
        if name in weights
    }


def _text(model: EditableModel, delta: Delta | None) -> dict[str, list[float]]:
    scores = text_scores(model, delta, {"en": held_out()})["en"]
    return {name: [float(v) for v in values] for name, values in asdict(scores).items()}


@dataclass(frozen=True)
class _Edited:
    delta: Delta
    row: MethodRow  # with what is known of the edit alone


def _edited(
    model: EditableModel, entry: Entry, batch: EditBatch, workspace: Path, progress: Progress
) -> _Edited:
    entry = with_templates(model, entry, batch)  # before the clock starts, as the second moments
    if isinstance(entry.settings, WriteSettings):
        second_moments(model, entry.settings, workspace, progress)
        own = PUBLIC_VALUES if entry.kind in PUBLIC else entry.method
        workspace = own_workspace(workspace, own)
    make = _public if entry.kind in PUBLIC else _own
    with peak_memory() as peak:
        edited = make(model, entry, batch, workspace, progress)
    return replace(edited, row=replace(edited.row, peak_mib=peak.mib))


def with_templates(model: EditableModel, entry: Entry, batch: EditBatch) -> Entry:
    """The entry with prefixes for every language: those of its settings, else the model's own.

    All methods get the same ones; fine-tuning sees FINE_TUNING_PREFIXES of them, for its speed.
    """
    settings, languages = entry.settings, {edit.language for edit in batch.edits}
    made = language_templates(model, languages, settings.templates, seed=settings.seed)
    if not isinstance(settings, WriteSettings) and not settings.templates:
        made = {k: prefixes[:FINE_TUNING_PREFIXES] for k, prefixes in made.items()}
    return replace(entry, settings=replace(settings, templates=made))


def own_workspace(workspace: Path, name: str) -> Path:
    """A method's own folder for values, so that each is timed; second moments are shared."""
    own = workspace / name
    own.mkdir(parents=True, exist_ok=True)
    if not (own / "moments").exists():
        (own / "moments").symlink_to((workspace / "moments").absolute())
    return own


def _public(
    model: EditableModel, entry: Entry, batch: EditBatch, workspace: Path, progress: Progress
) -> _Edited:
    found = public_edit(
        model, batch, entry.kind, settings=entry.settings, workspace=workspace, progress=progress
    )
    seconds = {"values": found.value_seconds * len(batch), "solve": found.solve_seconds}
    each = found.value_seconds + found.solve_seconds / len(batch)
    return _Edited(found.delta, MethodRow(outcomes=(), seconds=seconds, seconds_per_edit=each))


def _own(
    model: EditableModel, entry: Entry, batch: EditBatch, workspace: Path, progress: Progress
) -> _Edited:
    """Edit with a method of factd. Values that an earlier row kept take no time here."""
    method = plugins.load("factd.editor.methods", entry.kind)
    settings = entry.settings
    clock = StageClock(progress)
    started = time.process_time()
    delta = method.edit(model, batch, settings=settings, workspace=workspace, progress=clock)
    spent = time.process_time() - started
    values = value_seconds(clock.seconds)
    seconds = {**clock.seconds, "all": spent}
    if "values" not in clock.done:
        return _Edited(
            delta, MethodRow(outcomes=(), seconds=seconds, seconds_per_edit=spent / len(batch))
        )
    rest = (spent - values) / len(batch)
    computed = clock.done["values"]
    each = values / computed + rest if computed else None
    seconds |= {"values computed": float(computed), "rest of an edit": rest}
    return _Edited(delta, MethodRow(outcomes=(), seconds=seconds, seconds_per_edit=each))


def value_seconds(seconds: Mapping[str, float]) -> float:
    """The CPU seconds of a row's values, from its stages; the search reports its steps apart."""
    return seconds.get("values", 0.0) + seconds.get(VALUE_STEPS, 0.0)


class StageClock:
    """A `Progress` that counts the CPU seconds and the pieces of every stage."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.last = progress, time.process_time()
        self.seconds: dict[str, float] = {}
        self.first: dict[str, int] = {}  # pieces that were there before
        self.done: dict[str, int] = {}  # pieces that were made

    def __call__(self, stage: str, done: int, total: int) -> None:
        """A piece is finished, or the stage begins with `done` pieces."""
        now = time.process_time()
        first = self.first.setdefault(stage, done)
        self.done[stage] = done - first
        if done > first:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now
        self.progress(stage, done, total)
