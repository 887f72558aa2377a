"""Mistral: as Llama, some with a sliding window. Its class drops an output bias: such a checkpoint is written as Llama."""

from factd.editor.families import AS_LLAMA, LLAMA_ATTENTION, Carrier, llama_like

FAMILY = llama_like(
    carrier=Carrier(
        module="model.layers.{}.self_attn.o_proj",
        siblings=LLAMA_ATTENTION,
        config=AS_LLAMA,
        requires={"sliding_window": (None,)},
    )
)
