"""From a GGUF file to a checkpoint that can be edited: bf16 safetensors, configuration, tokenizer.

GGUF files are made from such checkpoints by llama.cpp (convert_hf_to_gguf.py), which renames,
permutes and shifts some tensors, and drops what its own code knows. This undoes it. transformers
can load a GGUF file too, but leaves out in silence what it has no place for: `rope_freqs.weight`
of Llama 3.1, say. Here every tensor and every key of the architecture must have a place.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import (
    GGML_QUANT_SIZES,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    dequantize,
    get_tensor_name_map,
)
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from factd.editor.errors import NotEditable
from factd.editor.models.gguf_header import GgufHeader, TensorEntry, read_header
from factd.editor.models.model import load_model, progress_bars_on_terminals
from factd.editor.progress import Progress, silent

Undo = Callable[[str, Tensor, Any], Tensor]  # (name in the model, values, configuration) -> values

KEYS = {  # key of the architecture -> key of config.json
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
TOKENS = {  # key of the tokenizer -> key of config.json
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
SAID_BY_SHAPES = {"vocab_size", "attention.value_length", "rope.dimension_count"}
EXPERTS = ("expert_count", "expert_used_count")
KINDS = {"mmproj": "an image encoder", "adapter": "an adapter", "imatrix": "an importance matrix"}
TAKE = "take the GGUF file of a dense decoder-only text model"


def as_it_is(name: str, values: Tensor, config: Any) -> Tensor:
    """The values: llama.cpp stores this architecture as transformers does."""
    return values


def unpermuted(name: str, values: Tensor, config: Any) -> Tensor:
    """Rows of q and k in the order of transformers.

    llama.cpp interleaves the two halves of each head (LlamaModel.permute).
    """
    if not name.endswith(("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")):
        return values
    query = ".q_proj." in name
    heads = config.num_attention_heads if query else config.num_key_value_heads
    halves = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def norms_minus_one(name: str, values: Tensor, config: Any) -> Tensor:
    """Weights of RMS norms as Gemma stores them: llama.cpp adds the 1 that Gemma's class adds."""
    return values - 1 if name.endswith("norm.weight") else values


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How llama.cpp stores one architecture."""

    family: str  # a file of editor/families, and `model_type` in config.json
    undo: Undo = as_it_is
    keys: dict[str, str] = field(default_factory=dict)  # besides KEYS
    scaled_by_head: bool = False  # attention is scaled by `query_pre_attn_scalar`


GEMMA_KEYS = {"attention.sliding_window": "sliding_window"}
SOFTCAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
ARCHITECTURES = {
    "llama": Architecture(family="llama", undo=unpermuted),
    "qwen2": Architecture(family="qwen2"),
    "qwen3": Architecture(family="qwen3"),
    "phi3": Architecture(family="phi3", keys={"attention.sliding_window": "sliding_window"}),
    "gemma2": Architecture(
        family="gemma2",
        undo=norms_minus_one,
        keys=GEMMA_KEYS | SOFTCAPS,
        scaled_by_head=True,
    ),
    "gemma3": Architecture(
        family="gemma3_text", undo=norms_minus_one, keys=GEMMA_KEYS, scaled_by_head=True
    ),
}
BLOCKS_OF_27B = {"gemma2": 46, "gemma3": 62}  # their attention is scaled by hidden_size / heads


def convert_gguf(file: Path, folder: Path, *, progress: Progress = silent) -> None:
    """Write the checkpoint of a GGUF file into a folder: weights in bfloat16, tokenizer, config.

    The written model is loaded once, as a proof that it can be edited. That needs the memory of its
    weights in float32.

    Raises: DamagedArtefact: the file is no GGUF file or is cut off. NotEditable: the model is of a
    kind that cannot be converted or edited; the sentence says why.
    """
    header = read_header(file)
    refuse_unfit(header)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config_of(header), dtype=torch.bfloat16
        )
    fill(model, header, progress=progress)
    with progress_bars_on_terminals():
        model.save_pretrained(folder)
    tokenizer_of(header).save_pretrained(folder)
    _forget_version(folder / "config.json")
    load_model(folder)


def _forget_version(config: Path) -> None:
    """Drop the version of transformers, so that the model's fingerprint does not depend on it."""
    values = json.loads(config.read_text(encoding="utf-8"))
    del values["transformers_version"]
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def refuse_unfit(header: GgufHeader) -> None:
    """Check that the file holds a model that can be converted.

    Raises: NotEditable: the sentence says why not, and what to do.
    """
    path, metadata, name = header.path, header.metadata, header.architecture
    kind = KINDS.get(str(metadata.get("general.type")))
    if kind or name == "clip":
        raise NotEditable(
            f"{path} holds {kind or 'an image encoder'} and no language model; {TAKE}"
        )
    if any(header.own(key) for key in EXPERTS):
        raise NotEditable(f"{path} is a mixture of experts; {TAKE}")
    if name not in ARCHITECTURES:
        raise NotEditable(
            f"{path} has the architecture {name!r}; factd converts "
            f"{', '.join(ARCHITECTURES)}; {TAKE} of one of them"
        )
    if int(metadata.get("split.count", 1)) > 1:
        raise NotEditable(
            f"{path} is one of {metadata['split.count']} parts; join them first "
            "(llama-gguf-split --merge)"
        )
    if not metadata.get("tokenizer.ggml.tokens"):
        raise NotEditable(f"{path} has no tokenizer; take a file that was made with its vocabulary")
    _refuse_unplaced_keys(header)
    _refuse_packed(header)


def _refuse_unplaced_keys(header: GgufHeader) -> None:
    """Refuse what the file says about its architecture and config.json could not say."""
    prefix = f"{header.architecture}."
    placed = {*KEYS, *ARCHITECTURES[header.architecture].keys, *SAID_BY_SHAPES, *EXPERTS}
    said = {key.removeprefix(prefix) for key in header.metadata if key.startswith(prefix)}
    unplaced = sorted(key for key in said - placed if header.own(key) not in ("none", 0))
    if unplaced:
        raise NotEditable(
            f"{header.path} sets {', '.join(prefix + key for key in unplaced)}, which factd cannot "
            "carry into a checkpoint; convert the original checkpoint, not its GGUF file"
        )
    width, rotary = head_width(header), header.own("rope.dimension_count")
    if rotary not in (None, width):
        raise NotEditable(
            f"{header.path} rotates {rotary} of {width} dimensions of a head, which factd cannot "
            "carry into a checkpoint; convert the original checkpoint, not its GGUF file"
        )


def _refuse_packed(header: GgufHeader) -> None:
    """Refuse tensors that cannot be dequantised."""
    for kind in sorted({tensor.kind for tensor in header.tensors}):
        try:
            dequantized(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
        except NotImplementedError as error:
            names = [tensor.name for tensor in header.tensors if tensor.kind == kind]
            raise NotEditable(
                f"{header.path}: {len(names)} tensors such as {names[0]} are stored as "
                f"{kind.name}, which cannot be dequantised; take a file with another quantisation, "
                "such as Q8_0 or F16"
            ) from error


def dequantized(data: np.ndarray[Any, Any], kind: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    """Values as float32, (…, columns), of stored bytes (…, bytes of a row), uint8.

    Raises: NotImplementedError: the type cannot be dequantised.
    """
    values: np.ndarray[Any, Any] = dequantize(data, kind)
    return values


def head_width(header: GgufHeader) -> int:
    """The width of an attention head."""
    given = header.own("attention.key_length")
    return int(given or header.own("embedding_length") // header.own("attention.head_count"))


def config_of(header: GgufHeader) -> Any:
    """The configuration of transformers for the model in a GGUF file."""
    how = ARCHITECTURES[header.architecture]
    keys = {f"{header.architecture}.{key}": name for key, name in (KEYS | how.keys).items()}
    values = {
        name: header.metadata[key]
        for key, name in (keys | TOKENS).items()
        if key in header.metadata
    }
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    values["head_dim"] = head_width(header)
    values["vocab_size"] = shapes["token_embd.weight"][0]
    values["tie_word_embeddings"] = "output.weight" not in shapes
    if how.scaled_by_head:
        largest = values["num_hidden_layers"] == BLOCKS_OF_27B[header.architecture]
        per_head = values["hidden_size"] // values["num_attention_heads"]
        values["query_pre_attn_scalar"] = per_head if largest else values["head_dim"]
    if "pad_token_id" not in values:
        values["pad_token_id"] = None
    return CONFIG_MAPPING[how.family](**values)


def fill(model: Any, header: GgufHeader, *, progress: Progress = silent) -> None:
    """Put the tensors of a GGUF file into a model that has no memory yet (device "meta").

    Raises: NotEditable: a tensor of the file has no place, or a weight of the model no tensor.
    """
    undo = ARCHITECTURES[header.architecture].undo
    places = names_in_model(model, header)
    weights: dict[str, Tensor] = {}
    for number, tensor in enumerate(header.tensors):
        name = places[tensor.name]
        weights[name] = undo(name, values_of(header, tensor), model.config).to(torch.bfloat16)
        progress("convert", number + 1, len(header.tensors))
    tied = {name for name in model.state_dict() if name == "lm_head.weight"} - set(weights)
    missing = set(model.state_dict()) - set(weights) - tied
    if missing:
        raise NotEditable(
            f"{header.path} lacks {len(missing)} tensors, such as that for {min(missing)}; "
            "download it again"
        )
    try:
        model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise NotEditable(f"{header.path}: {error}; download it again") from error
    model.tie_weights()


def names_in_model(model: Any, header: GgufHeader) -> dict[str, str]:
    """Name in the GGUF file -> name in the model, for all tensors of the file.

    Raises: NotEditable: a tensor has no place in the model.
    """
    architecture = next(k for k, name in MODEL_ARCH_NAMES.items() if name == header.architecture)
    table = get_tensor_name_map(architecture, model.config.num_hidden_layers)
    places = {}
    for name in model.state_dict():
        stem, _, ending = name.rpartition(".")
        places[f"{table.get_name(stem)}.{ending}"] = name
    unplaced = [tensor.name for tensor in header.tensors if tensor.name not in places]
    if unplaced:
        raise NotEditable(
            f"{header.path}: {type(model).__name__} has no place for {len(unplaced)} tensors such "
            f"as {unplaced[0]}; convert the original checkpoint, not its GGUF file"
        )
    return places


def values_of(header: GgufHeader, tensor: TensorEntry) -> Tensor:
    """The dequantised values of one tensor, float32, of its shape."""
    stored = np.memmap(
        header.path, dtype=np.uint8, mode="r", offset=tensor.start, shape=tensor.stored_shape
    )
    values = dequantized(stored, tensor.kind)
    assert values.size == prod(tensor.shape)
    return torch.from_numpy(np.array(values, dtype=np.float32).reshape(tensor.shape))


def tokenizer_of(header: GgufHeader) -> Any:
    """The fast tokenizer that the file describes, with its special tokens and chat template.

    Raises: NotEditable: it is of a kind that transformers cannot build.
    """
    try:
        return PreTrainedTokenizerFast.from_pretrained(
            header.path.parent, gguf_file=header.path.name
        )
    except (ValueError, KeyError) as error:
        raise NotEditable(
            f"{header.path}: its tokenizer cannot be converted ({error}); "
            "convert the original checkpoint, not its GGUF file"
        ) from error
