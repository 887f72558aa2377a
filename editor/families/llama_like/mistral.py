"""Mistral: as Llama; some models have a sliding window.

Its class drops an output bias, so a checkpoint with head corrections is written as Llama, which has
no sliding window.
"""

from factd.editor.families.llama_like._layout import llama_layout, written_as_llama

FAMILY = llama_layout(carrier=written_as_llama({"sliding_window": (None,)}))
