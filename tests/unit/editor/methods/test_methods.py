"""Every method on a tiny trained model, and the property that defines each method."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factd.editor import Edit, EditableModel, EditBatch, applied, edit, load_model, plugins
from factd.editor.api import settings_table
from factd.editor.deltas.delta import Delta
from factd.editor.errors import BadSettings, SingularSystem
from factd.editor.methods import alphaedit, emmet, fine_tuning, memit, rome
from factd.editor.scoring.score import forced_scores
from factd.editor.settings import settings_from
from factd.editor.solving.chunks import KeyChunks
from factd.editor.solving.layers import LayerSystem
from support.paths import GOLDEN

METHODS = plugins.names("factd.editor.methods")
EDITS = [Edit(**r) for r in json.loads((GOLDEN / "llama" / "case.json").read_text())["requests"]]
VALUES: dict[str, Any] = {
    "layers": [0, 1],
    "v_lr": 0.3,
    "v_num_grad_steps": 8,
    "v_weight_decay": 0.1,
    "second_moment_tokens": 3000,
    "templates": {"en": ["The report was long"]},
}
TABLES: dict[str, dict[str, Any]] = {
    "memit": VALUES | {"second_moment_weight": 30.0},
    "memat": VALUES
    | {"second_moment_weight": 30.0, "head_languages": ["en"], "head_count": 4, "head_lr": 0.02},
    "emmet": VALUES,
    "rome": VALUES | {"layers": [1]},
    "alphaedit": VALUES | {"nullspace_threshold": 0.05, "ridge": 1.0},
    "fine_tuning": {"layers": [1], "epochs": 5, "templates": VALUES["templates"]},
}


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


def written(model: EditableModel, method: str, folder: Path, **changes: Any) -> Delta:
    module = plugins.load("factd.editor.methods", method)
    settings = settings_from(module.Settings, TABLES[method] | changes)
    found: Delta = module.edit(model, EditBatch.of(EDITS[:6]), settings=settings, workspace=folder)
    return found


def nll(model: EditableModel, edits: list[Edit] = EDITS[:6]) -> float:
    asked = [(e.prompt.format(e.subject), e.target_new) for e in edits]
    return sum(score for score, _ in forced_scores(model, asked)) / len(asked)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "memat"])
def test_a_method_raises_its_targets_and_the_same_set_gives_the_same_bytes(
    method: str, model: EditableModel, tmp_path: Path
) -> None:
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    delta = written(model, method, tmp_path / "a")
    assert delta.method == method
    assert all(torch.equal(before[k], v) for k, v in model.model.state_dict().items())
    old = nll(model)
    with applied(model, delta):
        assert nll(model) < old - 0.05
    assert delta.id == written(model, method, tmp_path / "b").id
    empty = plugins.load("factd.editor.methods", method)
    settings = settings_from(empty.Settings, TABLES[method])
    nothing = empty.edit(model, EditBatch.of([]), settings=settings, workspace=tmp_path)
    assert nothing.parts == {}


@pytest.mark.parametrize(
    ("method", "changes", "reason"),
    [
        ("rome", {"layers": [0, 1]}, "one layer"),
        ("fine_tuning", {"layers": [0, 1]}, "one layer"),
        ("fine_tuning", {"lr": 0.0}, "lr must be above 0"),
        ("alphaedit", {"ridge": 0.0}, "ridge must be above 0"),
        ("emmet", {"slack": -1.0}, "slack must be above 0"),
        ("memat", {"head_languages": []}, "must name a language"),
        ("memat", {"heads": "best"}, "not 'probes', 'best'"),
        ("memit", {"second_moment_weight": 0.0}, "must be above 0"),
        ("fine_tuning", {"layers": [9]}, "blocks 0 to 3"),
    ],
)
def test_settings_out_of_range_are_refused(
    method: str, changes: dict[str, Any], reason: str, model: EditableModel, tmp_path: Path
) -> None:
    with pytest.raises(BadSettings, match=reason):
        written(model, method, tmp_path, **changes)


@pytest.fixture(scope="module")
def system() -> LayerSystem:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(12, 40, generator=generator).double()
    return LayerSystem.of(
        torch.randn(12, 4, generator=generator).double(),
        torch.randn(5, 4, generator=generator).double(),
        wide @ wide.T / 40,
        torch.randn(12, 2, generator=generator).double(),
    )


def matrices(
    system: LayerSystem, columns: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor]:
    keys, residuals = system.chunks.whole()
    return keys[:, columns], residuals[:, columns]


def test_emmet_is_memit_for_a_vanishing_weight_and_holds_its_edits_exactly(
    system: LayerSystem,
) -> None:
    found = emmet.solver(1e-12)(system).update
    keys, residuals = matrices(system)
    assert torch.allclose(found @ keys, residuals, atol=1e-6)
    alone = replace(system, fixed_keys=system.fixed_keys[:, :0])
    assert torch.allclose(found, memit.solver(1e-9)(alone).update, atol=1e-5)
    with pytest.raises(SingularSystem):
        emmet.solver(1e-300)(replace(system, chunks=KeyChunks.of(keys * 0, residuals)))


def test_rome_for_one_edit_is_emmet_and_each_edit_holds_when_it_is_written(
    system: LayerSystem,
) -> None:
    one = replace(system, chunks=KeyChunks.of(*matrices(system, slice(0, 1))))
    keys, residuals = matrices(system, slice(3, 4))
    assert torch.allclose(rome.solve(one).update, emmet.solver(1e-12)(one).update, atol=1e-8)
    assert torch.linalg.matrix_rank(rome.solve(one).update) == 1
    update = rome.solve(system).update
    assert torch.allclose(update @ keys, residuals, atol=1e-8)


def test_alphaedit_does_not_change_what_is_outside_the_null_space(system: LayerSystem) -> None:
    values, vectors = torch.linalg.eigh(system.second_moment)
    threshold = float(values[7])
    update = alphaedit.solver(threshold, 0.01)(system).update
    held = vectors[:, values >= threshold]
    assert (update @ held).abs().max() < 1e-8
    assert (update @ matrices(system)[0]).norm() > 0.1  # the control: the edits move
    free = alphaedit.solver(threshold, 0.01)(
        replace(system, fixed_keys=system.fixed_keys[:, :0])
    ).update
    assert (update @ system.fixed_keys).norm() < (free @ system.fixed_keys).norm()


def test_memit_hardly_changes_the_output_at_fixed_keys(system: LayerSystem) -> None:
    held = memit.solver(1.0, 1000.0)(system).update @ system.fixed_keys
    free = memit.solver(1.0, 0.0)(system).update @ system.fixed_keys
    assert held.norm() < 0.05 * free.norm()


def test_history_keeps_the_first_batch_when_more_batches_follow(
    model: EditableModel, tmp_path: Path
) -> None:
    batches = [EditBatch.of(EDITS[i : i + 3]) for i in (0, 3, 6)]
    settings = settings_from(memit.Settings, TABLES["memit"] | {"second_moment_weight": 3.0})
    found = {
        history: memit.sequential(
            model, batches, settings=settings, workspace=tmp_path, history=history
        )
        for history in (False, True)
    }
    assert len(found[True]) == 3
    assert found[True][0].id == found[False][0].id
    first = {}
    for history, deltas in found.items():
        with applied(model, deltas[-1]):
            first[history] = nll(model, EDITS[:3])
    assert first[True] < first[False]
    table = settings_from(alphaedit.Settings, TABLES["alphaedit"])
    last = alphaedit.sequential(model, batches, settings=table, workspace=tmp_path, history=True)[
        -1
    ]
    old = nll(model, EDITS[6:9])
    with applied(model, last):
        assert nll(model, EDITS[6:9]) < old


def test_fine_tuning_stays_closer_with_a_penalty(model: EditableModel, tmp_path: Path) -> None:
    free = written(model, "fine_tuning", tmp_path)
    held = written(model, "fine_tuning", tmp_path, l2=1e4)
    name = "layer.1.update_norm_ratio"
    assert held.diagnostics[name] < 0.7 * free.diagnostics[name]
    with pytest.raises(SingularSystem, match="lower lr"):
        written(model, "fine_tuning", tmp_path, lr=1e30)
    assert not any(p.requires_grad for p in model.model.parameters())
    assert fine_tuning.Settings(layers=(1,)).epochs == 20


def test_one_call_edits_with_any_method_and_uses_published_settings_if_there_are_any(
    model: EditableModel, tmp_path: Path
) -> None:
    found = edit(model, EDITS[:6], settings=TABLES["memit"], workspace=tmp_path)
    assert found.id == written(model, "memit", tmp_path).id
    assert edit(model, EDITS[:2], method="rome", settings=TABLES["rome"], workspace=tmp_path).parts
    with pytest.raises(BadSettings, match="layers"):
        edit(model, EDITS[:2], workspace=tmp_path)
    config = {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48}
    (tmp_path / "config.json").write_text(json.dumps(config))
    table = settings_table(tmp_path, memit.Settings, {"v_lr": 0.1})
    assert (table["layers"], table["v_lr"]) == ([13, 14, 15, 16, 17], 0.1)
    assert "second_moment_weight" not in settings_table(tmp_path, rome.Settings, {})
