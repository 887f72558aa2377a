"""MEMAT: MEMIT in the write languages, then corrections of attention heads for others.

arXiv:2502.02173. The edits of `write_languages` are written into the MLP matrices. For each of
`head_languages`, the edits in that language choose the heads that tell new answers from old ones
(editor/heads/ranking.py) and train the corrections, on the model as MEMIT left it. The corrections
are kept in the workspace, one artefact per base and language (editor/heads/corrections.py), and
later batches use them again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import Edit, EditBatch
from factd.editor.errors import BadSettings
from factd.editor.heads.corrections import (
    HeadCorrections,
    corrections_folder,
    load_corrections,
    save_corrections,
    state_of,
    with_heads,
)
from factd.editor.heads.ranking import fit_corrections
from factd.editor.heads.training import HeadSettings
from factd.editor.methods import Method, memit
from factd.editor.methods._write import WriteSettings, language_templates
from factd.editor.methods.memit import MemitSettings
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class MematSettings(MemitSettings):
    """Settings of MEMIT, and which languages are written, which get head corrections, and how.

    Raises: BadSettings: no head language, an unknown word, a number out of range.
    """

    head_languages: tuple[str, ...]
    """Languages in which head corrections are trained."""
    write_languages: tuple[str, ...] = ()
    """Languages that are written; empty: every language of the batch."""
    heads: str = "correct"
    """How heads are corrected: "correct", "gradient" (the gradient chooses the heads),
    "as-released", "center-of-mass" (ITI), or the controls "random" and "none"."""
    head_count: int = 16
    """Heads that are corrected."""
    head_lr: float = 0.1
    """Step size, relative to the mean output norm of the head."""
    head_epochs: int = 1
    """Passes over the facts."""
    head_batch_size: int = 32
    """Facts in a step."""
    head_clamp_norm_factor: float = 0.75
    """‖δ‖ is at most this times the mean output norm of the head."""
    head_strength: float = 5.0
    """Strength of center-of-mass directions, in standard deviations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.head_languages:
            raise BadSettings("head_languages must name a language; without one use memit")
        self.correction()

    def correction(self) -> HeadSettings:
        """The settings of the head corrections. Raises: BadSettings."""
        form = "correct" if self.heads in ("random", "none", "gradient") else self.heads
        return HeadSettings(
            count=0 if self.heads == "none" else self.head_count,
            choice=self.heads if self.heads in ("random", "gradient") else "probes",
            form=form,
            lr=self.head_lr,
            epochs=self.head_epochs,
            batch_size=self.head_batch_size,
            clamp_norm_factor=self.head_clamp_norm_factor,
            strength=self.head_strength,
            seed=self.seed,
        )


Settings = MematSettings  # the plugin loader looks for this name


def edit(
    model: EditableModel,
    batch: EditBatch,
    *,
    settings: MematSettings,
    workspace: Path,
    progress: Progress = silent,
) -> Delta:
    """MEMIT's delta for the written languages, with the head corrections of the head languages.

    Corrections that are switched off are left out.

    Raises: BadEdit, BadSettings, DamagedArtefact, SingularSystem; NotEditable: the model has no
    attention.
    """
    model.attention_out(0)
    languages = settings.write_languages
    written = EditBatch.of(e for e in batch.edits if not languages or e.language in languages)
    delta = memit.edit(model, written, settings=settings, workspace=workspace, progress=progress)
    delta = replace(delta, method="memat", batch_id=batch.id)
    if not settings.correction().count or not batch.edits:
        return delta
    corrections = [
        corrections_for(model, batch, delta, language, settings, workspace, progress)
        for language in settings.head_languages
        if state_of(corrections_folder(workspace, model.fingerprint, language)) != "off"
    ]
    return with_heads(model, delta, corrections)


def corrections_for(
    model: EditableModel,
    batch: EditBatch,
    delta: Delta,
    language: str,
    settings: MematSettings,
    workspace: Path,
    progress: Progress = silent,
) -> HeadCorrections:
    """The corrections of a language, from the workspace or newly trained.

    Those in the workspace are used if the same settings made them. New corrections are trained with
    the delta in place and kept in the workspace.
    """
    folder = corrections_folder(workspace, model.fingerprint, language)
    if state_of(folder) == "on":
        kept = load_corrections(folder)
        if dict(kept.settings) == asdict(settings.correction()):
            return kept
    corrections = train_corrections(
        model,
        [e for e in batch.edits if e.language == language],
        delta,
        language,
        heads=settings.correction(),
        settings=settings,
        templates_of=settings.write_languages,
        progress=progress,
    )
    save_corrections(corrections, workspace)
    return corrections


def train_corrections(
    model: EditableModel,
    edits: Sequence[Edit],
    delta: Delta,
    language: str,
    *,
    heads: HeadSettings,
    settings: WriteSettings,
    templates_of: Sequence[str] = (),
    still: Sequence[str] = (),
    progress: Progress = silent,
) -> HeadCorrections:
    """Corrections of a language, trained from edits in it, on the base model with a delta in place.

    templates_of: the written languages; the released form uses the templates of the first one.
    still: prompts about other facts, whose next tokens are to stay the same.

    Raises: BadEdit: too few edits that are right after the edit. WrongModel: the delta has another
    base.
    """
    source = templates_of[0] if heads.form == "as-released" and templates_of else language
    made = language_templates(model, {source}, settings.templates, seed=settings.seed)
    values = replace(settings.values({language: made[source]}), share_wordings=False)
    with applied(model, delta):
        fitted = fit_corrections(
            model, edits, settings=heads, values=values, still=still, progress=progress
        )
    return HeadCorrections(
        language=language,
        base_fingerprint=model.fingerprint,
        trained_on=delta.id,
        heads=fitted.heads,
        vectors=fitted.vectors,
        relevance=fitted.relevance,
        gains=fitted.gains,
        facts=fitted.facts,
        settings=asdict(heads),
    )


_: Method = edit
