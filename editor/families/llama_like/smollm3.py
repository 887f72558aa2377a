"""SmolLM3: as Llama; some layers have no rotary positions."""

from factd.editor.families.llama_like._layout import llama_layout

FAMILY = llama_layout()
