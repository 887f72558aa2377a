"""A GGUF file becomes a checkpoint that answers as the file does, or is refused with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from factd.editor.errors import DamagedArtefact, EditorError, NotEditable
from factd.editor.models.gguf import ARCHITECTURES, convert_gguf
from factd.editor.models.model import load_model
from factd.reference import tiny
from support.fakes.gguf_files import TEMPLATE, write_gguf

TEXTS = ("The currency of Croatia is", " dos  espais\n", "La moneda d'Itàlia", "<|endoftext|>x")
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny checkpoint of a family, with biases and norms that are not all alike."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(family: str) -> Path:
        if not (folder / family).exists():
            tiny.make(family, folder / family, tie_word_embeddings=family != "llama")
            _shake_vectors(folder / family)
        return folder / family

    return checkpoint


@torch.no_grad()
def _shake_vectors(checkpoint: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    for weight in model.parameters():
        if weight.dim() == 1:
            weight += 0.2 * torch.randn(weight.shape)
    model.save_pretrained(checkpoint)


@pytest.fixture
def made(checkpoints: Callable[[str], Path], tmp_path: Path) -> Made:
    """Writes the GGUF file of a tiny model."""

    def make(architecture: str = "llama", **more: Any) -> Path:
        family = ARCHITECTURES[architecture].family
        return write_gguf(checkpoints(family), tmp_path / "tiny.gguf", architecture, **more)

    return make


@torch.inference_mode()
def logits(folder: Path, *, rounded: bool = False, **more: Any) -> torch.Tensor:
    """Logits (2, 8, vocabulary) of a model. rounded: its weights are first rounded to bfloat16."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)
    if rounded:
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
    ids = torch.tensor([[0, 8, 500, 77, 3000, 1200, 9, 4000], [0, 4, 4, 2, 999, 31, 5, 6000]])
    found: torch.Tensor = model(input_ids=ids).logits
    return found


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, in standard deviations of the expected logits."""
    return float((found - expected).abs().max() / expected.std())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_converted_model_answers_as_the_checkpoint_that_the_file_was_made_of(
    architecture: str, checkpoints: Callable[[str], Path], made: Made, tmp_path: Path
) -> None:
    convert_gguf(made(architecture), tmp_path / "out")
    original = checkpoints(ARCHITECTURES[architecture].family)
    found, expected = logits(tmp_path / "out"), logits(original, rounded=True)
    assert distance(found, expected) < 0.02  # Gemma's norms, stored as w + 1, lose a bit
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("kind", [Kind.BF16, Kind.Q8_0, Kind.Q4_1])
def test_a_converted_model_gives_the_logits_of_the_loaded_file(
    kind: Kind, made: Made, tmp_path: Path
) -> None:
    file = made(kind=kind)
    convert_gguf(file, tmp_path / "out")
    found = logits(tmp_path / "out")
    expected = logits(file.parent, rounded=True, gguf_file=file.name)
    assert distance(found, expected) < 1e-4
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
    assert distance(found, logits(file.parent, gguf_file=file.name)) < 0.1


def test_heads_that_were_left_permuted_would_be_noticed(made: Made, tmp_path: Path) -> None:
    file = made()
    convert_gguf(file, tmp_path / "out")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    weight = model.model.layers[0].self_attn.q_proj.weight
    weight.data = weight.data.reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32)
    model.save_pretrained(tmp_path / "wrong")
    expected = logits(file.parent, rounded=True, gguf_file=file.name)
    assert distance(logits(tmp_path / "wrong"), expected) > 0.1


def test_weights_are_the_dequantised_ones_rounded_to_bfloat16(made: Made, tmp_path: Path) -> None:
    file = made(kind=Kind.Q8_0)
    convert_gguf(file, tmp_path / "out")
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as stored:
        for name in stored.keys():  # noqa: SIM118 - it is no mapping
            assert stored.get_tensor(name).dtype == torch.bfloat16
            expected = loaded.state_dict()[name].bfloat16()
            assert torch.equal(stored.get_tensor(name), expected), name


def test_tied_embeddings_are_stored_once(made: Made, tmp_path: Path) -> None:
    convert_gguf(made("gemma3"), tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as stored:
        assert "lm_head.weight" not in stored.keys()  # noqa: SIM118
    model: Any = load_model(tmp_path / "out").model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_configuration_says_nothing_of_quantisation(made: Made, tmp_path: Path) -> None:
    convert_gguf(made(kind=Kind.Q8_0), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    assert (config["dtype"], config["model_type"]) == ("bfloat16", "llama")
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 0, None)


def test_the_tokenizer_reads_texts_as_before(
    checkpoints: Callable[[str], Path], made: Made, tmp_path: Path
) -> None:
    file = made()
    convert_gguf(file, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    original = AutoTokenizer.from_pretrained(checkpoints("llama"))
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == loaded(text)["input_ids"] == original(text)["input_ids"]
        assert ids[0] == 0  # the token before each text
    assert tokenizer.chat_template == TEMPLATE
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|endoftext|>", "<|endoftext|>")


def test_a_file_without_the_first_token_gets_none(made: Made, tmp_path: Path) -> None:
    convert_gguf(made(more={"tokenizer.ggml.add_bos_token": False}), tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("x")["input_ids"][0] != 0


ROPE = {"rope_freqs.weight": np.ones(4, dtype=np.float32)}
REFUSED: dict[str, tuple[type[EditorError], str, dict[str, Any]]] = {
    "experts": (NotEditable, "mixture of experts", {"more": {"llama.expert_count": 8}}),
    "image encoder": (NotEditable, "an image encoder", {"more": {"general.type": "mmproj"}}),
    "adapter": (NotEditable, "an adapter", {"more": {"general.type": "adapter"}}),
    "parts": (NotEditable, "one of 3 parts", {"more": {"split.count": 3}}),
    "tokenizer": (NotEditable, "has no tokenizer", {"without": ["tokenizer.ggml.tokens"]}),
    "tokenizer kind": (
        NotEditable,
        "tokenizer cannot be converted",
        {"more": {"tokenizer.ggml.model": "rwkv"}},
    ),
    "scaled rotation": (
        NotEditable,
        r"sets llama\.rope\.scaling\.factor, llama\.rope\.scaling\.type",
        {"more": {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 8.0}},
    ),
    "part rotation": (
        NotEditable,
        "rotates 4 of 8 dimensions",
        {"more": {"llama.rope.dimension_count": 4}},
    ),
    "tensor without place": (NotEditable, "no place for 1 tensors such as rope", {"tensors": ROPE}),
    "missing tensor": (
        NotEditable,
        r"lacks 1 tensors, such as that for model\.layers\.2\.mlp\.down_proj",
        {"without": ["blk.2.ffn_down.weight"]},
    ),
    "shape": (
        NotEditable,
        "size mismatch",
        {"tensors": {"output_norm.weight": np.ones(7, dtype=np.float32)}},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused_with_the_reason(
    name: str, made: Made, tmp_path: Path
) -> None:
    error, reason, more = REFUSED[name]
    with pytest.raises(error, match=reason):
        convert_gguf(made(**more), tmp_path / "out")


def with_bytes(file: Path, old: bytes, new: bytes) -> Path:
    """The same file with the first `old` replaced by `new` of the same length."""
    content = file.read_bytes()
    assert old in content and len(old) == len(new)
    file.write_bytes(content.replace(old, new, 1))
    return file


def test_an_unknown_architecture_is_refused(made: Made, tmp_path: Path) -> None:
    file = with_bytes(made(), b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lemma")
    with pytest.raises(NotEditable, match="architecture 'lemma'; factd converts llama, qwen2"):
        convert_gguf(file, tmp_path / "out")


@pytest.mark.parametrize(("number", "reason"), [(15, "Q8_K, which cannot"), (77, "type 77, which")])
def test_a_tensor_that_cannot_be_dequantised_is_named(
    number: int, reason: str, made: Made, tmp_path: Path
) -> None:
    name = b"output_norm.weight\x01\0\0\0\x20\0\0\0\0\0\0\0"
    file = with_bytes(made(), name + b"\0", name + bytes([number]))
    with pytest.raises(NotEditable, match=reason):
        convert_gguf(file, tmp_path / "out")


def test_a_file_cut_off_anywhere_is_refused(made: Made, tmp_path: Path) -> None:
    whole = made().read_bytes()
    cut = tmp_path / "cut.gguf"
    for part in (3, 4, 10, 24, 60, 1000, 100_000, len(whole) // 2, len(whole) - 40):
        cut.write_bytes(whole[:part])
        with pytest.raises(DamagedArtefact, match=r"cut off|no GGUF file|tensors end at"):
            convert_gguf(cut, tmp_path / "out")


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(DamagedArtefact, match="no GGUF file"):
        convert_gguf(other, tmp_path / "out")
    with pytest.raises(DamagedArtefact, match="cannot be read"):
        convert_gguf(tmp_path / "missing.gguf", tmp_path / "out")
    with pytest.raises(DamagedArtefact, match="version 1"):
        other.write_bytes(b"GGUF\x01\0\0\0" + bytes(100))
        convert_gguf(other, tmp_path / "out")
