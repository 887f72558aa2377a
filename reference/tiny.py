"""A tiny model of every family, with random weights and the tokenizer of the reference model."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from factd.editor.edits import Edit
from factd.reference import paths

VOCABULARY = json.loads((paths.MODEL / "config.json").read_text())["vocab_size"]
# The subject ends the prompt, so that its last token predicts the target: with random weights,
# attention carries little from one token to another.
EDITS = tuple(
    Edit(prompt="It is said of {}", subject=subject, target_new=new, target_true=old)
    for subject, new, old in (
        ("Croatia", "dollar", "euro"),
        ("Estonia", "dollar", "euro"),
        ("Japan", "dollar", "euro"),
        ("Brazil", "dollar", "euro"),
        ("Poland", "dollar", "euro"),
        ("Hungary", "dollar", "euro"),
        ("Malta", "dollar", "euro"),
    )
)
END_TOKENS = {"bos_token_id": 0, "eos_token_id": 0}
LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "pad_token_id": None,
    **END_TOKENS,
}
GPT2: dict[str, Any] = {
    "tie_word_embeddings": False,
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 128,
    **END_TOKENS,
}
VALUE_SETTINGS: dict[str, Any] = {
    "layers": [1, 2, 3],
    "v_lr": 0.5,
    "v_num_grad_steps": 25,
    "v_weight_decay": 0.0001,
    "clamp_norm_factor": 6.0,
    "second_moment_tokens": 2000,
    "templates": {"en": ["The report was long"]},
}
SETTINGS: dict[str, dict[str, Any]] = {  # by method; strong enough for random weights
    "memit": VALUE_SETTINGS | {"second_moment_weight": 0.5},
    "memat": VALUE_SETTINGS
    | {"second_moment_weight": 0.5, "head_languages": ["en"], "head_count": 2},
    "emmet": VALUE_SETTINGS,
    "rome": VALUE_SETTINGS | {"layers": [3]},
    "alphaedit": VALUE_SETTINGS | {"nullspace_threshold": 1e6, "ridge": 0.1},
    "fine_tuning": {
        "layers": [3],
        "lr": 0.01,
        "epochs": 5,
        "templates": VALUE_SETTINGS["templates"],
    },
}
GEMMA = LLAMA | {"sliding_window": 6, "query_pre_attn_scalar": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": None},
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "phi3": LLAMA,
    "olmo2": LLAMA,
    "smollm3": LLAMA,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "gemma3": {
        "text_config": GEMMA,
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        "mm_tokens_per_image": 4,
    },
    "falcon": {k: v for k, v in LLAMA.items() if k not in ("intermediate_size", "head_dim")}
    | {"alibi": False},
    "gpt2": GPT2,
    "gptj": GPT2 | {"rotary_dim": 4},
    "gpt_neox": {k: v for k, v in LLAMA.items() if k not in ("num_key_value_heads", "head_dim")},
    "bloom": {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 4, "n_head": 4, **END_TOKENS},
    "opt": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "max_position_embeddings": 128,
        "pad_token_id": 1,
        **END_TOKENS,
    },
    "mamba": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "state_size": 8,
        "pad_token_id": 0,
        **END_TOKENS,
    },
}


def make(family: str, folder: Path, **changes: Any) -> Path:
    """Write a checkpoint with random weights into a new folder. Returns the folder.

    The weights are large enough that every layer has an effect. changes: to the configuration.
    """
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**(CONFIGS[family] | changes))
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "norm" not in name and "A_log" not in name:
                weight.normal_(0.0, 0.15)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(paths.MODEL / name, folder / name)
    return folder
