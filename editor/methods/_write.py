"""What the methods that write target values through keys have in common: settings, inputs, one call.

A method is a name, a frozen settings class with a solver for one layer (`factd.editor.solving.layers.Solver`), and a docstring.
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
from factd.editor.moments.corpus import source_of
from factd.editor.moments.moments import Moments, moments_for
from factd.editor.progress import Progress, silent
from factd.editor.solving.keys import Reading
from factd.editor.solving.layers import Solver, Templates, put_back, solve_layers, stored
from factd.editor.values.cache import values_for, values_now
from factd.editor.values.problem import ESSENCE, ValueSettings
from factd.editor.values.templates import generate_templates


@dataclass(frozen=True, kw_only=True)
class WriteSettings:
    """What every method that solves for values is told. Layers and strength depend on the model: `factd tune` finds them.

    Raises: BadSettings: layers out of order, a number out of range.
    """

    layers: tuple[int, ...]
    """Numbers of the edited blocks, rising; the last one is the z layer."""
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
        if self.v_num_grad_steps < 1 or self.second_moment_tokens < 1:
            raise BadSettings("v_num_grad_steps and second_moment_tokens must be at least 1")

    def values(self, templates: Templates) -> ValueSettings:
        """The part that decides the values."""
        own = {field.name for field in fields(ValueSettings)} - {"z_layer", "templates"}
        chosen = {name: getattr(self, name) for name in own}
        return ValueSettings(z_layer=self.layers[-1], templates=templates, **chosen)


def require_above_zero(name: str, value: float) -> None:
    """Raises: BadSettings: a strength that is not above 0."""
    if not value > 0:
        raise BadSettings(f"{name} must be above 0, not {value}")


SolverOf = Callable[[Any], Solver]  # settings of a method -> what solves one layer


def nothing_still(_: Any, __: Sequence[Edit]) -> Sequence[Reading]:
    """No key but those of the second moment is held."""
    return ()


def method(
    name: str,
    solver_of: SolverOf,
    still_of: Callable[[Any, Sequence[Edit]], Sequence[Reading]] = nothing_still,
) -> Method:
    """A method that solves for values: its `edit`, from what solves one layer. still_of: readings that may not move."""

    def edit(
        model: EditableModel,
        batch: EditBatch,
        *,
        settings: Any,
        workspace: Path,
        progress: Progress = silent,
    ) -> Delta:
        """The update that writes the whole batch into the base weights. Same model, settings and set: same bytes.

        Raises: BadEdit, BadSettings (a layer the model has not), DamagedArtefact, SingularSystem.
        """
        refuse_layers(model, settings.layers)
        templates = templates_for(model, batch, settings)
        identity = about(model, batch, name, settings, templates)
        if not batch.edits:
            return Delta(parts={}, **identity)
        moments = second_moments(model, settings, workspace, progress)
        values = values_for(model, batch, settings.values(templates), workspace, progress)
        solution = solve_layers(
            model,
            batch.edits,
            values,
            moments,
            templates,
            solver_of(settings),
            split=settings.split_openings,
            still=still_of(settings, batch.edits),
            memory_gib=settings.solve_memory_gib,
            unfinished=workspace / "unfinished" / _name_of(identity),
            progress=progress,
        )
        return Delta(parts=solution.parts, diagnostics=solution.diagnostics, **identity)

    return edit


def _name_of(identity: Mapping[str, Any]) -> str:
    """A name for what a delta is computed for and from."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def refuse_layers(model: EditableModel, layers: Sequence[int]) -> None:
    """Raises: BadSettings: a layer that the model has not."""
    if layers[-1] >= len(model.blocks):
        raise BadSettings(
            f"layers {list(layers)}: the model has blocks 0 to {len(model.blocks) - 1}"
        )


def about(
    model: EditableModel, batch: EditBatch, method: str, settings: Any, templates: Templates
) -> dict[str, Any]:
    """The identity of a delta: what it was computed for and from."""
    held = {**asdict(settings), "templates": {k: list(v) for k, v in sorted(templates.items())}}
    return {
        "base_fingerprint": model.fingerprint,
        "batch_id": batch.id,
        "method": method,
        "settings": held,
    }


def templates_for(
    model: EditableModel, batch: EditBatch, settings: WriteSettings
) -> dict[str, tuple[str, ...]]:
    """The prefixes of every language of a batch: those of the settings, else the model's own."""
    languages = {edit.language for edit in batch.edits}
    return language_templates(model, languages, settings.templates, seed=settings.seed)


def language_templates(
    model: EditableModel, languages: set[str], given: Templates, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """The prefixes of some languages: those given, else the model's own."""
    missing = languages - set(given)
    made = generate_templates(model, sorted(missing), seed=seed) if missing else {}
    return {k: tuple(given.get(k) or made[k]) for k in sorted(languages)}


def second_moments(
    model: EditableModel, settings: WriteSettings, workspace: Path, progress: Progress = silent
) -> Moments:
    """The second moments that the settings ask for, from the workspace or built into it."""
    return moments_for(
        model,
        settings.layers,
        tokens=settings.second_moment_tokens,
        source=source_of(settings.second_moment_corpus, seed=settings.seed),
        workspace=workspace,
        progress=progress,
    )


class InSequence(Protocol):
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
        """The delta from the base after each batch. history: the keys of all earlier edits, read again, may not move."""
        ...


def in_sequence(name: str, solver_of: SolverOf) -> InSequence:
    """For comparison: the batches one after the other, each on the weights that the last one left, as public code does.

    Values are computed on the edited model and not kept.
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
        found: list[Delta] = []
        written: list[Edit] = []
        with put_back(weights):
            for number, batch in enumerate(batches):
                _step(
                    model, batch, moments, solver_of(settings), settings, written if history else []
                )
                written += batch.edits
                parts = {
                    model.parameter(layer): stored(model, weight - old)
                    for layer, weight, old in zip(settings.layers, weights, before, strict=True)
                }
                ids = "\n".join(b.id for b in batches[: number + 1])
                identity = about(model, batch, f"{name}-sequential", settings, settings.templates)
                identity["batch_id"] = hashlib.sha256(ids.encode()).hexdigest()
                found.append(Delta(parts=parts, **identity))
                progress("sequential", number + 1, len(batches))
        return found

    return sequential


def _step(
    model: EditableModel,
    batch: EditBatch,
    moments: Moments,
    solver: Solver,
    settings: WriteSettings,
    written: Sequence[Edit],
) -> None:
    """One batch onto the weights as they are."""
    languages = {edit.language for edit in (*batch.edits, *written)}
    templates = language_templates(model, languages, settings.templates, seed=settings.seed)
    values = values_now(model, batch, settings.values(templates))
    still = [Reading(prompt=e.prompt, subject=e.subject, language=e.language) for e in written]
    split = settings.split_openings
    parts = solve_layers(
        model, batch.edits, values, moments, templates, solver, split=split, still=still
    ).parts
    for layer in settings.layers:
        matrix = parts[model.parameter(layer)].matrix()
        model.weight(layer).data.add_(
            (matrix.T if model.family.transposed else matrix).to(model.device)
        )
