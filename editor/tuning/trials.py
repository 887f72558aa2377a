"""A trial of settings: known facts get another object, then they and other facts are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from statistics import fmean, harmonic_mean, median
from typing import Any, NamedTuple

import torch

from factd.editor.closed_form import inverse_times
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import Edit, EditBatch
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments, templates_for
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import Probe, forced_scores
from factd.editor.solving.keys import read_keys
from factd.editor.solving.rows import key_prompts

PARAPHRASES = 2  # other wordings that are asked of each edit, at most


@dataclass(frozen=True, kw_only=True)
class KnownFact:
    """A fact that the model knows, with one wording to edit and other wordings to ask."""

    edit: Edit  # with target_true (today's answer) and target_new (another fact's)
    paraphrases: tuple[str, ...]  # prompts with "{}"


@dataclass(frozen=True)
class Place:
    """Where edits are written, and what each layer aims at."""

    layers: tuple[int, ...]
    targets: str = "spread"  # or "replay", see `WriteSettings.targets`

    @property
    def z_layer(self) -> int:
        """The block whose output the values are for."""
        return self.layers[0] if self.targets == "replay" else self.layers[-1]

    def __str__(self) -> str:
        return f"layers {self.layers[0]}-{self.layers[-1]}, {self.targets}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Scores of one kind of probe; 0 without probes."""

    success: float = 0.0  # share with a magnitude above 0, 0 to 1
    accuracy: float = 0.0  # share whose every token is the argmax: what generation begins with
    magnitude: float = 0.0  # mean of p(target) - p(contrast), -1 to 1
    retained: float = 0.0  # mean of p(target) against that of the base model, at most 1 each

    @property
    def taken(self) -> float:
        """How well a new object took, 0 to 1: the mean of accuracy and of magnitude, moved to 0..1.

        Accuracy is what counts, but it has few steps with few edits; the magnitude tells apart
        settings with the same accuracy.
        """
        return (self.accuracy + (1 + self.magnitude) / 2) / 2


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One setting and its measurements (docs/explanation/editing.md §5)."""

    place: Place
    v_lr: float
    second_moment_weight: float
    edits: int  # how many were written
    efficacy: Measured  # of the new object on the edit prompts
    paraphrase: Measured  # on other wordings; without such, the same as `efficacy`
    neighbourhood: Measured  # of the true object of neighbours, against the new one of an edit;
    # without neighbours, its success is `kept`
    kept: float  # share of neighbours and of facts of other relations that keep their answer
    retained: float  # the mean probability of these answers, each against the base's, at most 1

    @property
    def layers(self) -> tuple[int, ...]:
        """The edited layers."""
        return self.place.layers

    @property
    def gain(self) -> float:
        """How well the edits took, 0 to 1."""
        return (self.efficacy.taken + self.paraphrase.taken) / 2

    @property
    def locality(self) -> float:
        """How much of the rest stayed, 0 to 1. Layers are compared at the same locality.

        With few edits no answer changes; the retained probability then still tells settings apart.
        """
        return (self.neighbourhood.success + self.kept + self.retained) / 3

    @property
    def score(self) -> float:
        """What the search maximises, 0 to 1: the harmonic mean of what took and what stayed.

        It is MEMIT's score (arXiv:2210.07229, section 5) with the facts kept as further parts.
        """
        took = (self.efficacy.taken, self.paraphrase.taken)
        return harmonic_mean((*took, self.neighbourhood.success, self.kept, self.retained))


def contrast_probe(kind: str, edit: Edit, prompt: str, target: str, contrast: str | None) -> Probe:
    """A probe about an edit's subject. prompt: with "{}"."""
    return Probe(
        kind=kind,
        language=edit.language,
        prompt=prompt.format(edit.subject),
        target=target,
        accepted=(target,),
        contrast=contrast,
    )


def trial_probes(
    chosen: Sequence[KnownFact], rest: Sequence[KnownFact], *, others: int
) -> tuple[Probe, ...]:
    """Probes of the edits, of their other wordings, and of facts that must stay.

    Neighbours are facts with an edit's prompt that must not take the edit's new object. Bystanders
    are facts of other prompts. others: at most so many of each kind.
    """
    probes = []
    for known in chosen:
        e, asked = known.edit, known.paraphrases[:PARAPHRASES]
        for kind, prompt in (("edit", e.prompt), *(("paraphrase", p) for p in asked)):
            probes.append(contrast_probe(kind, e, prompt, e.target_new, str(e.target_true)))
    neighbours: list[Probe] = []
    bystanders: list[Probe] = []
    for number, known in enumerate(rest):
        e = known.edit
        same = [c.edit for c in chosen if c.edit.prompt == e.prompt]
        new = [edit.target_new for edit in same if edit.target_new != e.target_true]
        contrast = new[number % len(new)] if new else None
        kind, found = ("neighbourhood", neighbours) if new else ("bystander", bystanders)
        if new or not same:
            found.append(contrast_probe(kind, e, e.prompt, str(e.target_true), contrast))
    return *probes, *neighbours[:others], *bystanders[:others]


@dataclass(frozen=True)
class SettingScale:
    """The units of the settings for some layers."""

    step: float  # ‖z0‖ / √d
    weight: float  # median of kᵀ C⁻¹ k over the edits and layers


@dataclass(frozen=True)
class Trials:
    """Runs trials of one search. It holds what all trials have in common."""

    model: EditableModel
    chosen: Sequence[KnownFact]  # the facts that are edited
    probes: tuple[Probe, ...]
    given: Mapping[str, Any]  # settings that are not searched
    workspace: Path
    progress: Progress = silent
    scales: dict[Place, SettingScale] = field(default_factory=dict)
    base: list[float] = field(default_factory=list)  # p(target) of each probe; filled when needed

    @property
    def batch(self) -> EditBatch:
        """The edits of every trial."""
        return EditBatch.of(k.edit for k in self.chosen)

    def settings(self, place: Place, v_lr: float, weight: float) -> memit.Settings:
        """The settings of one trial. weight: of the second moment."""
        searched = {
            "layers": place.layers,
            "targets": place.targets,
            "v_lr": v_lr,
            "second_moment_weight": weight,
        }
        return memit.Settings(**{**self.given, **searched})

    def scale(self, place: Place) -> SettingScale:
        """The units of step size and weight at a place; measured once."""
        if place not in self.scales:
            self.scales[place] = self._scale(place)
        return self.scales[place]

    def _scale(self, place: Place) -> SettingScale:
        settings, layers = self.settings(place, 1.0, 1.0), place.layers
        moments = second_moments(self.model, settings, self.workspace, self.progress)
        templates = templates_for(self.model, self.batch, settings)
        rows, _ = key_prompts(self.batch.edits, split=False)
        weights = []
        for number, layer in enumerate(layers):
            self.progress("units of the settings", number, len(layers))
            stop = max(layer, settings.z_layer)
            read = read_keys(self.model, rows, templates, layer=layer, z_layer=stop)
            if layer == settings.z_layer:
                size = float(read.stream.norm(dim=-1).mean())
            keys = read.keys.double().T
            matrix = moments.layers[layer].to(keys.device).double()
            eye = 1e-6 * matrix.diagonal().mean() * torch.eye(len(matrix), device=keys.device)
            weights += (keys * inverse_times(matrix + eye, keys)).sum(0).tolist()
        self.progress("units of the settings", len(layers), len(layers))
        return SettingScale(size / read.stream.shape[1] ** 0.5, median(weights))

    def run(self, place: Place, v_lr: float, weight: float) -> TrialResult:
        """Edit with one setting and measure it. weight: of the second moment."""
        settings = self.settings(place, v_lr, weight)
        delta = memit.edit(
            self.model,
            self.batch,
            settings=settings,
            workspace=self.workspace,
            progress=self.progress,
        )
        found = self.measured(delta)
        kept = found.get("kept", Measured(accuracy=1.0, retained=1.0))
        return TrialResult(
            place=place,
            v_lr=v_lr,
            second_moment_weight=weight,
            edits=len(self.chosen),
            efficacy=found["edit"],
            paraphrase=found.get("paraphrase", found["edit"]),
            neighbourhood=found.get("neighbourhood", Measured(success=kept.accuracy)),
            kept=kept.accuracy,
            retained=kept.retained,
        )

    def measured(self, delta: Delta) -> dict[str, Measured]:
        """The scores of each kind of probe; "kept": of neighbours and bystanders together."""
        if not self.base:
            self.base.extend(exp(-nll) for nll, _ in self._scores()[: len(self.probes)])
        with applied(self.model, delta):
            scores = self._scores()
        contrasts = iter(scores[len(self.probes) :])
        rows: dict[str, list[_Row]] = {}
        for probe, before, (nll, accurate) in zip(self.probes, self.base, scores, strict=False):
            against = exp(-next(contrasts)[0]) if probe.contrast else 0.0
            now = exp(-nll)
            row = _Row(accurate, now - against, min(1.0, now / before) if before else 1.0)
            rows.setdefault(probe.kind, []).append(row)
            if probe.kind in ("neighbourhood", "bystander"):
                rows.setdefault("kept", []).append(row)
        return {kind: _measured(found) for kind, found in rows.items()}

    def _scores(self) -> list[tuple[float, bool]]:
        """The scores of the targets of all probes, then of the contrasts of those that have one."""
        end = str(self.given.get("terminator", ""))
        pairs = [(p.prompt, p.target + end) for p in self.probes]
        pairs += [(p.prompt, p.contrast + end) for p in self.probes if p.contrast]
        return forced_scores(self.model, pairs)


class _Row(NamedTuple):
    """The scores of one probe, see `Measured`."""

    accurate: bool
    magnitude: float
    retained: float


def _measured(rows: Sequence[_Row]) -> Measured:
    return Measured(
        success=fmean([float(row.magnitude > 0) for row in rows]),
        accuracy=fmean([float(row.accurate) for row in rows]),
        magnitude=fmean([row.magnitude for row in rows]),
        retained=fmean([row.retained for row in rows]),
    )
