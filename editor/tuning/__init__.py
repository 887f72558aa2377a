"""Chooses layers, step size and second-moment weight for a model; holds published presets.

The means are causal tracing and a short search over trials. Nothing here is needed to apply an
edit.
"""
