"""From values to weight updates: keys, residuals and the closed form, layer after layer.

How a value is found belongs to `values`; how an update is stored or folded into a checkpoint
belongs to `deltas`.
"""
