"""Llama: rotary positions, RMS norms, gated MLP."""

from factd.editor.families import llama_like

FAMILY = llama_like()
