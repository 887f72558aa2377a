"""The editor on a CUDA device: `make test-gpu`."""

from pathlib import Path

import pytest
import torch

from factd.editor import EditBatch, load_model
from factd.editor.heads.training import HeadSettings, train_vectors
from factd.editor.methods import memit
from factd.editor.values.cache import values_for
from factd.editor.values.problem import ValueSettings
from support.golden_case import EDITS, SETTINGS
from support.paths import GOLDEN

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_values_on_the_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    chosen = SETTINGS.values(SETTINGS.templates)
    batch = EditBatch.of(EDITS[:3])
    found = {}
    for device in ("cpu", "cuda"):
        model = load_model(GOLDEN / "llama" / "model", device=device)
        found[device] = values_for(model, batch, chosen, tmp_path / device).cpu()
    assert torch.allclose(found["cpu"], found["cuda"], rtol=1e-3, atol=1e-3)


def test_head_corrections_on_the_gpu_are_those_of_the_cpu() -> None:
    vectors = {}
    values = ValueSettings(z_layer=1, templates={"en": ("The report was long",)})
    for device in ("cpu", "cuda"):
        model = load_model(GOLDEN / "llama" / "model", device=device)
        heads, norms = ((1, 0), (2, 1)), torch.ones(2)
        settings = HeadSettings(lr=0.05, epochs=2)
        vectors[device] = train_vectors(model, EDITS, heads, norms, settings, values).cpu()
    assert torch.allclose(vectors["cpu"], vectors["cuda"], atol=1e-2)


def test_the_same_set_gives_the_same_bytes_on_the_gpu(tmp_path: Path) -> None:
    model = load_model(GOLDEN / "llama" / "model", device="cuda")
    batch = EditBatch.of(EDITS[:3])
    first = memit.edit(model, batch, settings=SETTINGS, workspace=tmp_path / "a")
    again = memit.edit(model, batch, settings=SETTINGS, workspace=tmp_path / "b")
    assert first.id == again.id
