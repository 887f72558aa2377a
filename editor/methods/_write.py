"""What the methods that write target values through keys share: settings, inputs, and one call.

Such a method is a name, a frozen settings class, and a solver of one layer
(`factd.editor.solving.layers.Solver`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from factd.editor.deltas.delta import Delta
from factd.editor.edits import Edit, EditBatch
from factd.editor.errors import BadSettings
from factd.editor.methods import Method
from factd.editor.models.model import EditableModel
from factd.editor.models.weights import weights_restored
from factd.editor.moments.corpus import source_of
from factd.editor.moments.moments import Moments, moments_for
from factd.editor.progress import Progress, silent
from factd.editor.solving.keys import KeyPrompt, Templates
from factd.editor.solving.layers import Solve, Solver, delta_part, solve_layers
from factd.editor.values.cache import values_for, values_now
from factd.editor.values.problem import ESSENCE, ValueSettings
from factd.editor.values.templates import generate_templates


@dataclass(frozen=True, kw_only=True)
class WriteSettings:
    """Settings of every method that solves for values.

    The right layers and strength depend on the model: `factd tune` searches for them.

    Raises: BadSettings: layers out of order, a number out of range.
    """

    layers: tuple[int, ...]
    """Numbers of the edited blocks, rising."""
    targets: str = "spread"
    """What each edited layer aims at. "spread": the value is found at the last edited layer, and
    every layer takes an equal share of the way that is left (MEMIT, arXiv:2210.07229). "replay":
    the value is found at the first edited layer and run forward through the base model; each layer
    aims at where the stream then stands behind it (arXiv:2605.00358)."""
    v_lr: float = 0.5
    """Step of Adam in the search for a value."""
    v_num_grad_steps: int = 25
    """Evaluations of that search, at most."""
    v_weight_decay: float = 0.5
    """Weight of ‖δ‖ in its loss."""
    clamp_norm_factor: float = 0.75
    """‖δ‖ is at most this times ‖z0‖."""
    kl_factor: float = 0.0625
    """Weight of the KL at the row that says what the subject is."""
    keep_factor: float = 0.0625
    """Weight of the mean KL at the rows that must stay."""
    loss_threshold: float = 0.05
    """The search ends below this loss."""
    terminator: str = ""
    """Text behind every target, so that an answer also ends where it should."""
    whole_target: bool = False
    """Loss of the whole target instead of the mean over its tokens."""
    share_wordings: bool = False
    """One δ for all wordings of one subject, target and language."""
    split_openings: bool = False
    """A row of its own in the solve for a subject that opens its prompt."""
    second_moment_tokens: int = 20_000
    """Tokens of the sample for the second moments."""
    second_moment_corpus: tuple[str, ...] = ()
    """Texts for that sample, "FILE" or "FILE=WEIGHT"; empty: the model writes them."""
    solve_memory_gib: float = 8.0
    """Memory for the solve of a layer, at most."""
    seed: int = 0
    """Seed of self-generated text."""
    templates: Templates = field(default_factory=dict)
    """Prefixes for each language; empty: the model writes them."""
    essence: Mapping[str, str] = field(default_factory=lambda: ESSENCE)
    """The prompt, for each language, that says what a subject is."""

    def __post_init__(self) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise BadSettings(f"layers must be rising block numbers, not {list(self.layers)}")
        for name in ("v_lr", "clamp_norm_factor", "solve_memory_gib"):
            require_above_zero(name, getattr(self, name))
        if self.targets not in ("spread", "replay"):
            raise BadSettings(f'targets must be "spread" or "replay", not "{self.targets}"')
        if self.v_num_grad_steps < 1 or self.second_moment_tokens < 1:
            raise BadSettings("v_num_grad_steps and second_moment_tokens must be at least 1")

    @property
    def z_layer(self) -> int:
        """The block whose output the values are for."""
        return self.layers[0] if self.targets == "replay" else self.layers[-1]

    def values(self, templates: Templates) -> ValueSettings:
        """The settings that decide the values, with the prefixes of each language."""
        own = {field.name for field in fields(ValueSettings)} - {"z_layer", "templates"}
        chosen = {name: getattr(self, name) for name in own}
        return ValueSettings(z_layer=self.z_layer, templates=templates, **chosen)


def require_above_zero(name: str, value: float) -> None:
    """Check a setting. Raises: BadSettings: it is not above 0."""
    if not value > 0:
        raise BadSettings(f"{name} must be above 0, not {value}")


SolverOf = Callable[[Any], Solver]  # settings of a method -> the solver of one layer
FixedPromptsOf = Callable[[Any, Sequence[Edit]], Sequence[KeyPrompt]]  # settings, edits -> prompts


def no_fixed_prompts(_: Any, __: Sequence[Edit]) -> Sequence[KeyPrompt]:
    """No prompts: only the second moment holds old knowledge in place."""
    return ()


def closed_form_method(
    name: str, solver_of: SolverOf, fixed_prompts_of: FixedPromptsOf = no_fixed_prompts
) -> Method:
    """The `edit` of a method that solves for values, made from its solver of one layer.

    fixed_prompts_of: prompts at whose keys the outputs may not change.
    """

    def edit(
        model: EditableModel,
        batch: EditBatch,
        *,
        settings: Any,
        workspace: Path,
        progress: Progress = silent,
    ) -> Delta:
        """The delta that writes the whole batch into the base weights.

        The same model, settings and set of edits give the same bytes.

        Raises: BadEdit, BadSettings (the model has no such layer), DamagedArtefact, SingularSystem.
        """
        require_layers(model, settings.layers)
        templates = templates_for(model, batch, settings)
        identity = delta_identity(model, batch, name, settings, templates)
        if not batch.edits:
            return Delta(parts={}, **identity)
        moments = second_moments(model, settings, workspace, progress)
        values = values_for(model, batch, settings.values(templates), workspace, progress)
        solve = Solve(
            edits=batch.edits,
            values=values,
            moments=moments,
            templates=templates,
            solver=solver_of(settings),
            split_openings=settings.split_openings,
            replayed=settings.targets == "replay",
            fixed_prompts=fixed_prompts_of(settings, batch.edits),
            memory_gib=settings.solve_memory_gib,
            unfinished=workspace / "unfinished" / _sha256(identity),
        )
        solution = solve_layers(model, solve, progress=progress)
        return Delta(parts=solution.parts, diagnostics=solution.diagnostics, **identity)

    return edit


def _sha256(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def require_layers(model: EditableModel, layers: Sequence[int]) -> None:
    """Check a method's layers. Raises: BadSettings: the model has no such layer."""
    if layers[-1] >= len(model.blocks):
        raise BadSettings(
            f"layers {list(layers)}: the model has blocks 0 to {len(model.blocks) - 1}"
        )


def delta_identity(
    model: EditableModel, batch: EditBatch, method: str, settings: Any, templates: Templates
) -> dict[str, Any]:
    """What a delta was computed for and from, as fields of `Delta`.

    `targets` is left out at its default, so that deltas from before this setting keep their ids.
    """
    held = {**asdict(settings), "templates": {k: list(v) for k, v in sorted(templates.items())}}
    if held.get("targets") == "spread":
        del held["targets"]
    return {
        "base_fingerprint": model.fingerprint,
        "batch_id": batch.id,
        "method": method,
        "settings": held,
    }


def templates_for(
    model: EditableModel, batch: EditBatch, settings: WriteSettings
) -> dict[str, tuple[str, ...]]:
    """The prefixes of each language of a batch: from the settings, else by the model."""
    languages = {edit.language for edit in batch.edits}
    return language_templates(model, languages, settings.templates, seed=settings.seed)


def language_templates(
    model: EditableModel, languages: set[str], given: Templates, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """The prefixes of each language: the given ones, else written by the model with the seed."""
    missing = languages - set(given)
    made = generate_templates(model, sorted(missing), seed=seed) if missing else {}
    return {k: tuple(given.get(k) or made[k]) for k in sorted(languages)}


def second_moments(
    model: EditableModel, settings: WriteSettings, workspace: Path, progress: Progress = silent
) -> Moments:
    """The second moments that the settings ask for: from the workspace, or built and kept there.

    Raises: BadSettings: a corpus file is missing or unreadable. DamagedArtefact: a kept file is
    damaged.
    """
    return moments_for(
        model,
        settings.layers,
        tokens=settings.second_moment_tokens,
        source=source_of(settings.second_moment_corpus, seed=settings.seed),
        workspace=workspace,
        progress=progress,
    )


class SequentialMethod(Protocol):
    """Edits batch after batch, for comparison with the ledger form."""

    def __call__(
        self,
        model: EditableModel,
        batches: Sequence[EditBatch],
        *,
        settings: Any,
        workspace: Path,
        history: bool,
        progress: Progress = silent,
    ) -> list[Delta]:
        """The delta from the base after each batch.

        history: the keys of all earlier edits are read again, and the outputs there may not change.
        """
        ...


def sequential_method(name: str, solver_of: SolverOf) -> SequentialMethod:
    """A method that writes each batch onto the weights that the last one left, as public code does.

    It exists for comparison. Values are computed on the edited model and not kept.
    """

    def sequential(
        model: EditableModel,
        batches: Sequence[EditBatch],
        *,
        settings: Any,
        workspace: Path,
        history: bool,
        progress: Progress = silent,
    ) -> list[Delta]:
        moments = second_moments(model, settings, workspace, progress)
        weights = [model.weight(layer) for layer in settings.layers]
        before = [weight.detach().clone() for weight in weights]
        deltas: list[Delta] = []
        written: list[Edit] = []
        with weights_restored(weights):
            for number, batch in enumerate(batches):
                earlier = written if history else []
                _write_batch(model, batch, moments, solver_of(settings), settings, earlier)
                written += batch.edits
                parts = {
                    model.parameter(layer): delta_part(model, weight - old)
                    for layer, weight, old in zip(settings.layers, weights, before, strict=True)
                }
                ids = "\n".join(b.id for b in batches[: number + 1])
                identity = delta_identity(
                    model, batch, f"{name}-sequential", settings, settings.templates
                )
                identity["batch_id"] = hashlib.sha256(ids.encode()).hexdigest()
                deltas.append(Delta(parts=parts, **identity))
                progress("sequential", number + 1, len(batches))
        return deltas

    return sequential


def _write_batch(
    model: EditableModel,
    batch: EditBatch,
    moments: Moments,
    solver: Solver,
    settings: WriteSettings,
    written: Sequence[Edit],
) -> None:
    """Write one batch onto the weights as they are now. written: edits whose keys stay fixed."""
    languages = {edit.language for edit in (*batch.edits, *written)}
    templates = language_templates(model, languages, settings.templates, seed=settings.seed)
    solve = Solve(
        edits=batch.edits,
        values=values_now(model, batch, settings.values(templates)),
        moments=moments,
        templates=templates,
        solver=solver,
        split_openings=settings.split_openings,
        replayed=settings.targets == "replay",
        fixed_prompts=[
            KeyPrompt(prompt=e.prompt, subject=e.subject, language=e.language) for e in written
        ],
    )
    parts = solve_layers(model, solve).parts
    for layer in settings.layers:
        matrix = parts[model.parameter(layer)].matrix()
        model.weight(layer).data.add_(
            (matrix.T if model.family.transposed else matrix).to(model.device)
        )
