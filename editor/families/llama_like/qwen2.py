"""Qwen2: as Llama, with biases on queries, keys and values.

Its class drops an output bias, so a checkpoint with head corrections is written as Llama, which has
no sliding window.
"""

from factd.editor.families.llama_like._layout import llama_layout, written_as_llama

FAMILY = llama_layout(carrier=written_as_llama({"use_sliding_window": (None, False)}))
