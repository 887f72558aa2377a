"""Phi-3: as Llama, queries, keys and values in one matrix. No class of this layout has an attention output bias."""

from factd.editor.families import llama_like

FAMILY = llama_like(carrier=None)
