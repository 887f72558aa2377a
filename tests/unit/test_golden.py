"""Both golden cases: what public MEMIT computed, in float32, to 1e-4."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from editor.edits import Edit, EditBatch
from editor.keys import read_keys
from editor.methods import memit
from editor.model import load_model
from editor.moments import Moments
from editor.values import group_values

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_editor_computes_what_public_memit_computes(family: str) -> None:
    case = json.loads((GOLDEN / family / "case.json").read_text())
    expected = load_file(GOLDEN / family / "expected.safetensors")
    model = load_model(GOLDEN / family / "model")
    edits = [Edit(**request) for request in case["requests"]]
    prefixes = tuple(t.removesuffix(". {}") for t in case["context_templates"][1])
    settings = memit.Settings(
        layers=tuple(case["layers"]),
        second_moment_weight=case["second_moment_weight"],
        v_lr=case["v_lr"],
        v_num_grad_steps=case["v_num_grad_steps"],
        v_weight_decay=case["v_weight_decay"],
        clamp_norm_factor=case["clamp_norm_factor"],
        kl_factor=case["kl_factor"],
        templates={"en": prefixes},
    )
    templates = settings.templates
    values = torch.cat([group_values(model, [e], settings.values(templates)) for e in edits])
    for z, golden in zip(values, expected["z"], strict=True):
        assert relative(z, golden) < 1e-4
    layers = {layer: expected[f"second_moment.{layer}"] for layer in settings.layers}
    moments = Moments(layers=layers, tokens=1, source="golden", fingerprint=model.fingerprint)
    rows, _ = memit.readings(edits, split=False)
    first = read_keys(model, rows, templates, layer=0, z_layer=settings.layers[-1])
    assert relative(first.keys, expected["keys.0"]) < 1e-4
    parts, _ = memit.solve_layers(model, edits, values, moments, settings, templates)
    for layer in settings.layers:
        matrix = parts[model.parameter(layer)].matrix()
        found = matrix.T if model.family.transposed else matrix
        assert relative(found, expected[f"delta.{layer}"]) < 1e-4
    assert len(EditBatch.of(edits)) == len(edits)
