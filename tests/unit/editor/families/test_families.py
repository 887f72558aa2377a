"""Every family on a tiny model: edited, put back, written, and read again in a fresh process."""

import json
from pathlib import Path

import pytest
import torch

from factd.editor import EditableModel, EditBatch, applied, load_model, plugins, write_checkpoint
from factd.editor.deltas.checkpoint import read_config
from factd.editor.deltas.delta import Delta, Dense
from factd.editor.deltas.reload import (
    check_logits,
    fixed_logits,
    logits_in_fresh_process,
    verify_reload,
)
from factd.editor.errors import DamagedArtefact, NotEditable
from factd.editor.families._kv_cache import KvCache, KvRecorder
from factd.editor.heads.biases import added_to_heads, layer_biases
from factd.editor.heads.corrections import HeadCorrections, with_heads
from factd.editor.methods import memit
from factd.editor.models.model import family_of
from factd.editor.scoring.score import forced_scores, greedy_answers
from factd.reference import tiny
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts

FAMILIES = plugins.names("factd.editor.families")
SETTINGS = memit.Settings(
    layers=(1, 2),
    second_moment_weight=0.5,
    v_lr=0.5,
    v_num_grad_steps=15,
    v_weight_decay=0.001,
    clamp_norm_factor=3.0,
    second_moment_tokens=2000,
    templates={"en": ("The report was long",)},
)


@pytest.fixture(scope="module", params=FAMILIES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> EditableModel:
    return load_model(tiny.make(request.param, tmp_path_factory.mktemp("tiny") / request.param))


@pytest.fixture(scope="module")
def delta(
    model: EditableModel, kept: SharedArtefacts, tmp_path_factory: pytest.TempPathFactory
) -> Delta:
    folder = tmp_path_factory.mktemp("workspace")
    kept.moments(folder, model.path, tokens=2000, layers=tiny.VALUE_SETTINGS["layers"])
    return memit.edit(model, EditBatch.of(tiny.EDITS), settings=SETTINGS, workspace=folder)


def bits(model: EditableModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def corrections(model: EditableModel) -> HeadCorrections:
    heads = ((0, 1), (0, 3), (2, 0))
    width = model.head_weight(0).shape[-1]
    return HeadCorrections(
        language="es",
        base_fingerprint=model.fingerprint,
        trained_on="",
        heads=heads,
        vectors=torch.randn(len(heads), width, generator=torch.Generator().manual_seed(1)),
        relevance=torch.rand(4, 4),
        gains=torch.zeros(4, 4),
        facts=1,
        settings={"form": "correct"},
    )


def test_an_edit_raises_its_targets_and_every_bit_is_put_back(
    model: EditableModel, delta: Delta
) -> None:
    before = bits(model)
    asked = [(e.prompt.format(e.subject), e.target_new) for e in tiny.EDITS]
    old = sum(nll for nll, _ in forced_scores(model, asked))
    with applied(model, delta):
        new = sum(nll for nll, _ in forced_scores(model, asked))
        assert not same(before, bits(model))
    assert new < old - 0.3
    assert same(before, bits(model))


def test_generated_text_agrees_with_blocks_that_are_run_one_by_one(model: EditableModel) -> None:
    prompt = tiny.EDITS[0].prompt.format(tiny.EDITS[0].subject)
    said = greedy_answers(model, [prompt], new_tokens=1)[0]
    ids = torch.tensor([model.tokenizer(prompt)["input_ids"]])
    hidden = model.run(model.embed(ids), 0, len(model.blocks))
    best = int(model.logits(hidden[0, -1:]).argmax())
    assert said == str(model.tokenizer.decode([best], skip_special_tokens=True)).strip()


def test_head_corrections_act_as_constants_and_are_removed_again(
    model: EditableModel, delta: Delta
) -> None:
    if model.family.attention_out is None:
        with pytest.raises(NotEditable, match="use memit"):
            corrections(model)
        return
    before = bits(model)
    found = corrections(model)
    both = with_heads(model, delta, [found])
    with applied(model, delta), added_to_heads(model, found.heads, found.vectors):
        expected = fixed_logits(model)
    with applied(model, both):
        assert torch.allclose(fixed_logits(model), expected, atol=1e-4)
    assert same(before, bits(model))


@pytest.mark.slow
def test_a_checkpoint_reads_back_in_a_fresh_process_or_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    written: list[tuple[Path, torch.Tensor]] = []
    refused = []
    for family in FAMILIES:
        model = load_model(tiny.make(family, tmp_path / family))
        part = Dense(0.01 * torch.ones_like(model.mlp_out(1).weight))
        plain = Delta(
            parts={model.parameter(1): part},
            base_fingerprint=model.fingerprint,
            batch_id="",
            method="memit",
        )
        deltas = [plain]
        if model.family.attention_out is not None:
            deltas.append(with_heads(model, plain, [corrections(model)]))
        for number, delta in enumerate(deltas):
            out = tmp_path / f"{family}-{number}"
            try:
                write_checkpoint(model.path, delta, out)
            except NotEditable as error:
                assert "switch them off" in str(error)
                refused.append(family)
                continue
            with applied(model, delta):
                written.append((out, fixed_logits(model)))
    assert refused == ["phi3"]
    found = logits_in_fresh_process([out for out, _ in written])
    for (out, expected), again in zip(written, found, strict=True):
        assert check_logits(out, again, expected) < 1e-5
    with pytest.raises(
        DamagedArtefact, match="its logits differ from the measured ones"
    ):  # the control: heads make a difference
        check_logits(written[0][0], found[1], written[0][1])


def test_a_checkpoint_with_a_tensor_that_its_class_does_not_know_is_refused(tmp_path: Path) -> None:
    model = load_model(tiny.make("qwen2", tmp_path / "base"))
    delta = Delta(parts={}, base_fingerprint=model.fingerprint, batch_id="", method="memit")
    out = write_checkpoint(
        model.path, with_heads(model, delta, [corrections(model)]), tmp_path / "out"
    )
    config = read_config(model.path)  # what a naive writer leaves: the class drops the bias
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedArtefact, match="do not fit the model's class"):
        verify_reload(model, delta, out)


def test_heads_of_one_layer_are_summed_and_in_the_released_form_the_last_one_wins() -> None:
    model = load_model(GOLDEN / "llama" / "model")
    vectors = torch.randn(2, model.head_weight(0).shape[-1])
    both = layer_biases(model, ((1, 0), (1, 1)), vectors)[1]
    one = [layer_biases(model, ((1, h),), vectors[h : h + 1])[1] for h in (0, 1)]
    assert torch.allclose(both, one[0] + one[1])
    assert torch.equal(layer_biases(model, ((1, 0), (1, 1)), vectors, overwrite=True)[1], one[1])


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("mistral", {"sliding_window": 64}, "sliding_window = 64"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64}, "use_sliding_window = True"),
    ],
)
def test_a_model_that_cannot_be_written_as_llama_carries_no_head_corrections(
    family: str, changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    model = load_model(tiny.make(family, tmp_path / "base", **changes))
    empty = Delta(parts={}, base_fingerprint=model.fingerprint, batch_id="", method="memit")
    with pytest.raises(NotEditable, match=reason):
        write_checkpoint(model.path, with_heads(model, empty, [corrections(model)]), tmp_path / "o")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "mixture of experts"),
        ({"model_type": "qwen3_moe", "num_experts": 8}, "mixture of experts"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "quantised"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "bert"}, "no 'bert' in factd.editor.families; there are: bloom"),
    ],
)
def test_a_kind_of_model_that_cannot_be_edited_is_refused_with_the_reason(
    config: dict[str, object], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotEditable, match=reason):
        family_of(tmp_path)


def test_the_dry_run_refuses_a_model_that_its_family_does_not_fit(tmp_path: Path) -> None:
    small = {"word_embed_proj_dim": 16, "do_layer_norm_before": False}
    with pytest.raises(NotEditable, match="does not fit this model"):
        load_model(tiny.make("opt", tmp_path / "opt", **small))
    with pytest.raises(NotEditable, match="does not fit"):
        load_model(tiny.make("falcon", tmp_path / "falcon", alibi=True))


def test_tokens_behind_a_cache_are_what_they_are_in_the_whole_text(
    model: EditableModel,
) -> None:
    if not model.family.keeps_past:
        pytest.skip("a state space has no keys and values to cache")
    ids = torch.randint(1, 600, (3, 14), generator=torch.Generator().manual_seed(5))
    lengths, count = torch.tensor([5, 0, 9]), 5
    recording, stop = KvRecorder(), len(model.blocks)
    stream = model.embed(ids)
    whole = model.run(stream, 0, stop, recording)
    at = lengths[:, None] + torch.arange(count)
    rest = stream.gather(1, at[:, :, None].expand(-1, -1, stream.shape[2]))
    past = KvCache(
        {n: k[:, :, :9] for n, k in recording.keys.items()},
        {n: v[:, :, :9] for n, v in recording.values.items()},
        lengths,
        9,
    )
    behind = model.run(rest, 0, stop, past)
    expected = whole.gather(1, at[:, :, None].expand(-1, -1, whole.shape[2]))
    assert torch.allclose(behind, expected, atol=2e-5, rtol=1e-4)
    alone = model.run(rest, 0, stop)  # the control: without the past it is another text
    assert not torch.allclose(alone[0], expected[0], atol=1e-3)
    assert torch.allclose(alone[1], expected[1], atol=2e-5, rtol=1e-4)
