"""Choosing layers, step size and second-moment weight for a model, and presets that were published.

Causal tracing and a short search over trials. Nothing here is needed to apply an edit.
"""
