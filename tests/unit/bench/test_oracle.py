"""Public MEMIT meets the golden case; public AlphaEdit leaves preserved keys alone."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from factd.bench.public.oracle import public_edit
from factd.bench.speed.public_memit import (
    EditedLayer,
    PublicSettings,
    alphaedit_layer,
    layer_updates,
    memit_layer,
    value,
)
from factd.editor.edits import EditBatch
from factd.editor.methods import alphaedit
from factd.editor.models.model import load_model
from factd.editor.models.weights import weights_restored
from support.golden_case import EDITS
from support.paths import GOLDEN


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_public_memit_computes_the_golden_deltas() -> None:
    folder = GOLDEN / "llama"
    case = json.loads((folder / "case.json").read_text())
    expected, model = load_file(folder / "expected.safetensors"), load_model(folder / "model")
    given = {f.name for f in fields(PublicSettings)} & set(case) - {"context_templates"}
    settings = PublicSettings(
        block=f"{model.family.blocks}.{case['z_layer']}",
        context_templates=tuple(tuple(kind) for kind in case["context_templates"]),
        **{name: case[name] for name in given},
    )
    jobs = [(request, settings) for request in case["requests"]]
    z = torch.stack([value(model.model, model.tokenizer, *job)[0] for job in jobs])
    layers = [
        EditedLayer(
            module=model.family.mlp_out.format(layer),
            weight=model.weight(layer),
            second_moment=expected[f"second_moment.{layer}"],
        )
        for layer in case["layers"]
    ]
    solve = memit_layer(case["second_moment_weight"])
    with weights_restored([layer.weight for layer in layers]):
        found = layer_updates(model.model, model.tokenizer, jobs, z, layers, solve)
    for layer, update in zip(case["layers"], found, strict=True):
        assert relative(update.float(), expected[f"delta.{layer}"]) < 1e-4


def system() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Preserved keys (12, 5), a second moment, new keys (12, 3), residuals (7, 3).

    The second moment has 0.05 in every direction beside the preserved keys.
    """
    draw = torch.Generator().manual_seed(0)
    preserved = torch.randn(12, 5, generator=draw, dtype=torch.float64)
    keys = torch.randn(12, 3, generator=draw, dtype=torch.float64)
    residuals = torch.randn(7, 3, generator=draw, dtype=torch.float64)
    noise = 0.05 * torch.eye(12, dtype=torch.float64)
    return preserved, preserved @ preserved.T / 5 + noise, keys, residuals


def test_alphaedit_does_not_move_outputs_at_preserved_keys_and_memit_does() -> None:
    preserved, second_moment, keys, residuals = system()
    update = alphaedit_layer(0.06, 1e-4)(second_moment, keys, residuals)
    assert float((update @ preserved).norm()) < 1e-9
    assert relative(update @ keys, residuals) < 1e-3
    plain = memit_layer(0.01)(second_moment, keys, residuals)
    assert float((plain @ preserved).norm()) > 0.1


def test_a_threshold_above_all_eigenvalues_preserves_nothing() -> None:
    preserved, second_moment, keys, residuals = system()
    update = alphaedit_layer(1e6, 0.1)(second_moment, keys, residuals)
    ridge = keys @ keys.T + 0.1 * torch.eye(12, dtype=torch.float64)
    assert relative(update, residuals @ keys.T @ torch.linalg.inv(ridge)) < 1e-9
    assert float((update @ preserved).norm()) > 0.1


def test_public_values_are_computed_once_for_both_methods(tmp_path: Path) -> None:
    model = load_model(GOLDEN / "llama" / "model")
    batch = EditBatch.of(EDITS[:2])
    settings = alphaedit.Settings(
        layers=(0, 1),
        v_num_grad_steps=4,
        second_moment_tokens=2000,
        nullspace_threshold=0.5,
        templates={"en": ("The report was long",)},
    )
    first = public_edit(model, batch, "public-alphaedit", settings=settings, workspace=tmp_path)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "public-values").iterdir()}
    again = public_edit(model, batch, "public-alphaedit", settings=settings, workspace=tmp_path)
    assert len(kept) == 2
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "public-values").iterdir()} == kept
    assert again.value_seconds == first.value_seconds > 0
    assert first.value_evaluations == pytest.approx(4)
    for name, part in first.delta.parts.items():
        assert torch.equal(part.matrix(), again.delta.parts[name].matrix())
