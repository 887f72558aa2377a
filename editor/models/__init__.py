"""The language model itself: loading, tokens, hooks, generation, and workers that share the load.

Everything that runs a forward pass through a whole model goes through this room. What differs
between architectures belongs to `families`, and what is asked of a model to `scoring`.
"""
