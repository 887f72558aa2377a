"""SmolLM3: as Llama; some layers have no rotary positions."""

from factd.editor.families import llama_like

FAMILY = llama_like()
