"""A trial of settings: known facts get another object, then they and neighbours are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, nan
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from factd.editor.closed_form import inverse_times
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import Edit, EditBatch
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments, templates_for
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import Probe, forced_scores
from factd.editor.solving.keys import read_keys
from factd.editor.solving.rows import key_prompts


@dataclass(frozen=True, kw_only=True)
class KnownFact:
    """A fact that the model knows, with one wording to edit and other wordings to ask."""

    edit: Edit  # with target_true (today's answer) and target_new (another fact's)
    paraphrases: tuple[str, ...]  # prompts with "{}"


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One setting and its measurements."""

    layers: tuple[int, ...]
    v_lr: float
    second_moment_weight: float
    # magnitudes are -1 to 1 (docs/explanation/editing.md §5)
    efficacy: float  # magnitude on the edit prompts
    paraphrase: float  # magnitude on the other wordings; without such, that of the edit prompts
    neighbourhood: float  # success, 0 to 1
    neighbourhood_magnitude: float

    @property
    def gain(self) -> float:
        """What the search maximises at equal neighbourhood success."""
        return (self.efficacy + self.paraphrase) / 2


def contrast_probe(kind: str, edit: Edit, prompt: str, target: str, contrast: str) -> Probe:
    """A probe about an edit's subject. prompt: with "{}"."""
    text = prompt.format(edit.subject)
    return Probe(
        kind=kind,
        language=edit.language,
        prompt=text,
        target=target,
        accepted=(target,),
        contrast=contrast,
    )


def trial_probes(chosen: Sequence[KnownFact], rest: Sequence[KnownFact]) -> tuple[Probe, ...]:
    """Probes of the edits, of their other wordings, and of neighbours.

    Neighbours are facts with an edit's prompt that must not take the edit's new object.
    """
    probes = []
    for known in chosen:
        e = known.edit
        for kind, prompt in (("edit", e.prompt), *(("paraphrase", p) for p in known.paraphrases)):
            probes.append(contrast_probe(kind, e, prompt, e.target_new, str(e.target_true)))
    for number, known in enumerate(rest):
        e = known.edit
        same = [
            c.edit.target_new
            for c in chosen
            if c.edit.prompt == e.prompt and c.edit.target_new != e.target_true
        ]
        if same:
            contrast = same[number % len(same)]
            probes.append(
                contrast_probe("neighbourhood", e, e.prompt, str(e.target_true), contrast)
            )
    return tuple(probes)


def success_and_mean(magnitudes: Sequence[float]) -> tuple[float, float]:
    """The share of magnitudes above 0, and their mean; (nan, nan) without magnitudes."""
    if not magnitudes:
        return nan, nan
    return fmean([float(size > 0) for size in magnitudes]), fmean(magnitudes)


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

    @property
    def batch(self) -> EditBatch:
        """The edits of every trial."""
        return EditBatch.of(k.edit for k in self.chosen)

    def settings(self, layers: tuple[int, ...], v_lr: float, weight: float) -> memit.Settings:
        """The settings of one trial. weight: of the second moment."""
        return memit.Settings(
            **{**self.given, "layers": layers, "v_lr": v_lr, "second_moment_weight": weight}
        )

    def scale(self, layers: tuple[int, ...]) -> SettingScale:
        """The units of step size and weight for some layers."""
        settings = self.settings(layers, 1.0, 1.0)
        moments = second_moments(self.model, settings, self.workspace)
        templates = templates_for(self.model, self.batch, settings)
        rows, _ = key_prompts(self.batch.edits, split=False)
        weights = []
        for layer in layers:
            stop = max(layer, settings.z_layer)
            read = read_keys(self.model, rows, templates, layer=layer, z_layer=stop)
            if layer == settings.z_layer:
                size = float(read.stream.norm(dim=-1).mean())
            keys = read.keys.double().T
            matrix = moments.layers[layer].to(keys.device).double()
            eye = 1e-6 * matrix.diagonal().mean() * torch.eye(len(matrix), device=keys.device)
            weights += (keys * inverse_times(matrix + eye, keys)).sum(0).tolist()
        return SettingScale(size / read.stream.shape[1] ** 0.5, median(weights))

    def run(self, layers: tuple[int, ...], v_lr: float, weight: float) -> TrialResult:
        """Edit with one setting and measure it. weight: of the second moment."""
        settings = self.settings(layers, v_lr, weight)
        delta = memit.edit(self.model, self.batch, settings=settings, workspace=self.workspace)
        magnitudes = self.magnitudes(delta)
        success, size = success_and_mean(magnitudes["neighbourhood"])
        efficacy = fmean(magnitudes["edit"])
        return TrialResult(
            layers=layers,
            v_lr=v_lr,
            second_moment_weight=weight,
            efficacy=efficacy,
            paraphrase=fmean(magnitudes["paraphrase"]) if magnitudes["paraphrase"] else efficacy,
            neighbourhood=success,
            neighbourhood_magnitude=size,
        )

    def magnitudes(self, delta: Delta | None) -> dict[str, list[float]]:
        """The magnitudes of all probes, -1 to 1, by kind of probe.

        delta None: of the base model.
        """
        end = str(self.given.get("terminator", ""))
        pairs = [
            (p.prompt, text + end) for p in self.probes for text in (p.target, str(p.contrast))
        ]
        if delta is None:
            scores = forced_scores(self.model, pairs)
        else:
            with applied(self.model, delta):
                scores = forced_scores(self.model, pairs)
        by_kind: dict[str, list[float]] = {"edit": [], "paraphrase": [], "neighbourhood": []}
        for number, probe in enumerate(self.probes):
            target, contrast = scores[2 * number][0], scores[2 * number + 1][0]
            by_kind[probe.kind].append(exp(-target) - exp(-contrast))
        return by_kind
