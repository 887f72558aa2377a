"""Qwen3: as Llama, with norms on queries and keys."""

from factd.editor.families.llama_like._layout import llama_layout

FAMILY = llama_layout()
