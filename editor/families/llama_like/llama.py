"""Llama: rotary positions, RMS norms, gated MLP."""

from factd.editor.families.llama_like._layout import llama_layout

FAMILY = llama_layout()
