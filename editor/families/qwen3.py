"""Qwen3: as Llama, with norms on queries and keys."""

from factd.editor.families import llama_like

FAMILY = llama_like()
