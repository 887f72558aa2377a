"""GGUF files as llama.cpp makes them of checkpoints, written with the package `gguf`."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

from factd.reference import paths

FLOAT = gguf.GGMLQuantizationType.F32
CONFIG = {  # key of config.json -> key of the architecture
    "max_position_embeddings": "context_length",
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def write_gguf(
    checkpoint: Path,
    out: Path,
    architecture: str,
    *,
    kind: gguf.GGMLQuantizationType = FLOAT,
    without: Collection[str] = (),
    more: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint with the reference tokenizer as a GGUF file. Returns `out`.

    kind: how matrices are stored whose rows it fits. without: names of metadata and tensors to
    leave out. more, tensors: metadata and tensors to add or replace.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    values = metadata_of(model.config, architecture) | tokenizer_metadata() | dict(more or {})
    writer = gguf.GGUFWriter(out, architecture)
    for key, value in values.items():
        if key not in without:
            _add(writer, key, value)
    stored = tensors_of(model, architecture) | dict(tensors or {})
    for name, array in stored.items():
        if name not in without:
            fits = array.ndim == 2 and array.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
            used = kind if fits else FLOAT
            writer.add_tensor(name, gguf.quantize(array, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def metadata_of(config: Any, architecture: str) -> dict[str, Any]:
    """What convert_hf_to_gguf.py writes of a configuration."""
    known = config.to_dict()
    own = {key: known[name] for name, key in CONFIG.items() if known.get(name) is not None}
    rotary = known["rope_parameters"]
    own["rope.freq_base"] = rotary.get("full_attention", rotary)["rope_theta"]
    if architecture == "llama":
        own["vocab_size"] = known["vocab_size"]
        own["rope.dimension_count"] = known["head_dim"]
    return {"general.name": "tiny", **{f"{architecture}.{key}": own[key] for key in own}}


def tokenizer_metadata() -> dict[str, Any]:
    """The reference tokenizer, which is byte-level BPE and puts one token before each text."""
    stored = json.loads((paths.MODEL / "tokenizer.json").read_text())
    ids = stored["model"]["vocab"]
    special = {token["id"] for token in stored["added_tokens"]}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": sorted(ids, key=ids.__getitem__),
        "tokenizer.ggml.token_type": [3 if i in special else 1 for i in range(len(ids))],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in stored["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def tensors_of(model: Any, architecture: str) -> dict[str, np.ndarray[Any, Any]]:
    """The weights under llama.cpp's names, permuted and shifted as it does."""
    number = next(k for k, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    found = {}
    for name, weight in model.named_parameters():
        stem, _, ending = name.rpartition(".")
        array = weight.detach().numpy()
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            array = permuted(array, model.config, query="q_proj" in name)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            array = array + 1
        found[f"{names.get_name(stem)}.{ending}"] = np.ascontiguousarray(array)
    return found


def permuted(array: np.ndarray[Any, Any], config: Any, *, query: bool) -> np.ndarray[Any, Any]:
    """`LlamaModel.permute` of convert_hf_to_gguf.py, with its own words."""
    heads = config.num_attention_heads if query else config.num_key_value_heads
    return (
        array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
        .swapaxes(1, 2)
        .reshape(array.shape)
    )
