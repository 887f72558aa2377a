"""OLMo 2: as Llama, norms after attention and MLP instead of before them."""

from factd.editor.families import llama_like

FAMILY = llama_like(mlp_norm="model.layers.{}.post_feedforward_layernorm")
