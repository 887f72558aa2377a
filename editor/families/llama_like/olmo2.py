"""OLMo 2: as Llama, with norms after attention and MLP instead of before them."""

from factd.editor.families.llama_like._layout import llama_layout

FAMILY = llama_layout(mlp_norm="model.layers.{}.post_feedforward_layernorm")
