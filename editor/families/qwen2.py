"""Qwen2: as Llama, with biases on queries, keys and values. Its class drops an output bias: one with it is written as Llama."""

from factd.editor.families import AS_LLAMA, LLAMA_ATTENTION, Carrier, llama_like

FAMILY = llama_like(
    carrier=Carrier(
        module="model.layers.{}.self_attn.o_proj",
        siblings=LLAMA_ATTENTION,
        config=AS_LLAMA,
        requires={"use_sliding_window": (None, False)},
    )
)
