"""MEMIT in the ledger form on tiny real models: exact, and a function of the set alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from factd.editor import (
    EditableModel,
    EditBatch,
    applied,
    load_delta,
    load_model,
    save_delta,
    verify_checkpoint,
    write_checkpoint,
)
from factd.editor.deltas.delta import Delta, LowRank, compact_part, fold
from factd.editor.errors import BadSettings, DamagedArtefact, ModelNotFound, NotEditable, WrongModel
from factd.editor.methods import memit
from factd.editor.methods._write import templates_for
from factd.editor.scoring.score import forced_scores
from factd.editor.values.cache import values_for
from factd.editor.values.values import group_values
from support.golden_case import EDITS, SETTINGS
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts

FAMILIES = ("llama", "gpt2")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> EditableModel:
    return load_model(GOLDEN / request.param / "model")


@pytest.fixture(scope="module")
def workspace(kept: SharedArtefacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("workspace")
    for family in FAMILIES:
        kept.moments(found, GOLDEN / family / "model", tokens=3000, layers=SETTINGS.layers)
    return found


def weights(model: EditableModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.model.named_parameters()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_an_edit_raises_its_targets_probability_and_every_bit_is_put_back(
    model: EditableModel, workspace: Path
) -> None:
    before = weights(model)
    batch = EditBatch.of(EDITS[:4])
    delta = memit.edit(model, batch, settings=SETTINGS, workspace=workspace)
    asked = [(e.prompt.format(e.subject), e.target_new) for e in batch.edits]
    old = [nll for nll, _ in forced_scores(model, asked)]
    with applied(model, delta):
        new = [nll for nll, _ in forced_scores(model, asked)]
        assert not same(before, weights(model))
    assert all(n < o for n, o in zip(new, old, strict=True))
    assert same(before, weights(model))
    with pytest.raises(RuntimeError), applied(model, delta):
        raise RuntimeError
    assert same(before, weights(model))


def test_a_value_does_not_depend_on_the_other_edits(model: EditableModel, tmp_path: Path) -> None:
    chosen = SETTINGS.values(SETTINGS.templates)
    alone = [
        values_for(model, EditBatch.of([e]), chosen, tmp_path / str(i))[0]
        for i, e in enumerate(EDITS[:4])
    ]
    batch = EditBatch.of(reversed(EDITS[:4]))
    together = values_for(model, batch, chosen, tmp_path / "together")
    for edit, value in zip(EDITS[:4], alone, strict=True):
        assert torch.equal(value, together[batch.edits.index(edit)])


def test_the_same_set_gives_the_same_bytes_whatever_was_written_before(
    model: EditableModel, tmp_path: Path
) -> None:
    first = memit.edit(model, EditBatch.of(EDITS[:5]), settings=SETTINGS, workspace=tmp_path / "a")
    for part in (EDITS[3:4], EDITS[2:8], EDITS[1:3]):  # another history in another workspace
        memit.edit(model, EditBatch.of(part), settings=SETTINGS, workspace=tmp_path / "b")
    again = memit.edit(
        model, EditBatch.of(reversed(EDITS[:5])), settings=SETTINGS, workspace=tmp_path / "b"
    )
    assert first.id == again.id
    assert (
        first.id
        != memit.edit(
            model, EditBatch.of(EDITS[:4]), settings=SETTINGS, workspace=tmp_path / "b"
        ).id
    )


def test_wordings_that_share_a_value_move_by_the_same_amount(model: EditableModel) -> None:
    one = EDITS[0]
    pair = [one, replace(one, prompt="It is said that {} speaks")]
    shared = replace(SETTINGS, share_wordings=True).values(SETTINGS.templates)
    still = replace(shared, v_num_grad_steps=1)
    moved = group_values(model, pair, shared) - group_values(model, pair, still)
    assert torch.allclose(moved[0], moved[1], atol=1e-4)
    assert moved[0].norm() > 0.1
    apart = group_values(model, pair, replace(shared, share_wordings=False)) - group_values(
        model, pair, still
    )
    assert not torch.allclose(apart[0], apart[1], atol=1e-3)


def test_prompts_to_keep_change_the_value(model: EditableModel) -> None:
    kept = replace(EDITS[0], keep=("The occupation of {} is",))
    chosen = SETTINGS.values(SETTINGS.templates)
    free = group_values(model, [kept], replace(chosen, keep_factor=0.0))
    held = group_values(model, [kept], replace(chosen, keep_factor=50.0))
    assert not torch.equal(free, held)


@pytest.mark.slow
def test_checkpoints_read_in_a_fresh_process_give_the_logits_of_the_models_in_memory(
    workspace: Path, tmp_path: Path
) -> None:
    ids, expected = torch.tensor([[5, 6, 7, 8, 9]]), {}
    for family in FAMILIES:
        model = load_model(GOLDEN / family / "model")
        delta = memit.edit(model, EditBatch.of(EDITS[:3]), settings=SETTINGS, workspace=workspace)
        out = write_checkpoint(model.path, delta, tmp_path / family)
        assert verify_checkpoint(out)["delta_id"] == delta.id
        with applied(model, delta):
            expected[family] = model.model(input_ids=ids).logits
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM as A\n"
        "for out in sys.argv[1:]:\n"
        f"    logits = A.from_pretrained(out)(input_ids=torch.tensor({ids.tolist()})).logits\n"
        "    torch.save(logits, out + '.pt')"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *(str(tmp_path / f) for f in FAMILIES)],
        check=True,
        timeout=120,
    )
    for family, logits in expected.items():
        assert torch.equal(torch.load(tmp_path / f"{family}.pt"), logits)


def test_a_bfloat16_checkpoint_is_rounded_once(tmp_path: Path, workspace: Path) -> None:
    source = AutoModelForCausalLM.from_pretrained(GOLDEN / "llama" / "model").bfloat16()
    source.save_pretrained(tmp_path / "base", max_shard_size="300KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "base" / name).write_bytes((GOLDEN / "llama" / "model" / name).read_bytes())
    base = load_model(tmp_path / "base")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 1
    delta = memit.edit(base, EditBatch.of(EDITS[:3]), settings=SETTINGS, workspace=tmp_path)
    out = write_checkpoint(base.path, delta, tmp_path / "out")
    again = load_model(out)
    with applied(base, delta):
        assert same(weights(base), weights(again))
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_a_delta_survives_its_file_and_a_damaged_one_is_named(
    model: EditableModel, workspace: Path, tmp_path: Path
) -> None:
    delta = memit.edit(model, EditBatch.of(EDITS[:2]), settings=SETTINGS, workspace=workspace)
    folder = save_delta(delta, tmp_path / "delta")
    assert load_delta(folder).id == delta.id
    path = folder / "delta.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedArtefact, match=r"delta\.safetensors"):
        load_delta(folder)
    path.unlink()
    with pytest.raises(DamagedArtefact, match=r"delta\.safetensors"):
        load_delta(folder)


def test_a_delta_of_another_base_is_refused(model: EditableModel, tmp_path: Path) -> None:
    delta = Delta(parts={}, base_fingerprint="0" * 64, batch_id="", method="memit")
    with pytest.raises(WrongModel), applied(model, delta):
        pass
    with pytest.raises(WrongModel):
        write_checkpoint(model.path, delta, tmp_path / "out")
    strange = replace(
        delta,
        base_fingerprint=model.fingerprint,
        parts={"x.weight": compact_part(torch.ones(4, 1), torch.ones(4, 1))},
    )
    with pytest.raises(DamagedArtefact, match=r"no tensor 'x\.weight'"):
        write_checkpoint(model.path, strange, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_factors_are_kept_if_they_are_smaller_than_the_matrix() -> None:
    left, right = torch.randn(20, 2), torch.randn(30, 2)
    part = compact_part(left, right)
    assert isinstance(part, LowRank)
    assert torch.equal(part.matrix(), left @ right.T)
    assert not isinstance(compact_part(torch.randn(4, 9), torch.randn(5, 9)), LowRank)
    base = torch.randn(20, 30).bfloat16()
    assert torch.equal(fold(base, part), (base.float() + left @ right.T).bfloat16())


def test_sequential_batches_end_elsewhere_than_one_solve(
    model: EditableModel, workspace: Path
) -> None:
    before = weights(model)
    batches = [EditBatch.of(EDITS[:3]), EditBatch.of(EDITS[3:6])]
    found = memit.sequential(model, batches, settings=SETTINGS, workspace=workspace, history=False)[
        -1
    ]
    assert same(before, weights(model))
    one = memit.edit(model, EditBatch.of(EDITS[:6]), settings=SETTINGS, workspace=workspace)
    name = next(iter(one.parts))
    assert not torch.allclose(found.parts[name].matrix(), one.parts[name].matrix(), atol=1e-3)
    asked = [(e.prompt.format(e.subject), e.target_new) for e in EDITS[3:6]]
    old = [nll for nll, _ in forced_scores(model, asked)]
    with applied(model, found):
        assert sum(nll for nll, _ in forced_scores(model, asked)) < sum(old)


def test_the_model_writes_its_own_prefixes_if_none_are_given(
    model: EditableModel, tmp_path: Path
) -> None:
    batch = EditBatch.of(EDITS[:1])
    free = replace(SETTINGS, templates={})
    found = templates_for(model, batch, free)
    assert len(found["en"]) == 5
    assert all("{" not in prefix and prefix == prefix.strip() for prefix in found["en"])
    assert found == templates_for(model, batch, free)


def test_a_layer_that_the_model_does_not_have_is_refused(
    model: EditableModel, tmp_path: Path
) -> None:
    with pytest.raises(BadSettings, match="blocks 0 to 3"):
        memit.edit(
            model, EditBatch.of(EDITS), settings=replace(SETTINGS, layers=(9,)), workspace=tmp_path
        )


def test_an_empty_batch_changes_nothing(model: EditableModel, tmp_path: Path) -> None:
    assert memit.edit(model, EditBatch.of([]), settings=SETTINGS, workspace=tmp_path).parts == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"model_type": "nothing"},
            "no 'nothing' in factd.editor.families; there are: bloom, falcon",
        ),
        ({"num_local_experts": 8}, "mixture of experts"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_a_model_that_cannot_be_edited_is_refused_with_the_reason(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    config = json.loads((GOLDEN / "llama" / "model" / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotEditable, match=reason):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="is no model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelNotFound, match="is no model"):
        load_model(tmp_path)
