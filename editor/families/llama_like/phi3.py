"""Phi-3: as Llama, with queries, keys and values in one matrix.

No transformers class of this layout has an attention output bias, so a checkpoint cannot carry
head corrections.
"""

from factd.editor.families.llama_like._layout import llama_layout

FAMILY = llama_layout(carrier=None)
