"""Model families laid out like Llama: rotary positions, RMS norms and a gated MLP.

A family belongs here if it starts from `_layout.llama_layout` or uses the layer of one that does.
Families with another layout lie one folder up.
"""
