"""Gemma 3 with its image encoder: the language model inside is edited, the encoder is copied."""

from factd.editor.families import BiasCarrier, Family, token_embeddings
from factd.editor.families.llama_like.gemma3_text import gemma_block

LAYER = "model.language_model.layers.{}"

FAMILY = Family(
    blocks="model.language_model.layers",
    mlp_out=f"{LAYER}.mlp.down_proj",
    attention_out=f"{LAYER}.self_attn.o_proj",
    norm="model.language_model.norm",
    embed=token_embeddings("model.language_model.embed_tokens"),
    block=gemma_block("model.language_model"),
    mlp_norm=f"{LAYER}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
    renames=(("model.language_model.", "language_model.model."),),
    carrier=BiasCarrier(
        module=f"{LAYER}.self_attn.o_proj",
        siblings=tuple(f"{LAYER}.self_attn.{part}_proj" for part in "qkv"),
        config={"text_config": {"attention_bias": True}},
    ),
)
