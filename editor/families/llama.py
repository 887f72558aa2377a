"""Llama: rotary positions, RMS norms, gated MLP."""

from editor.families import llama_like

FAMILY = llama_like()
