"""From values to weight updates: keys, residuals and the closed form, one edited layer after the other.

How a value is found belongs to `values`; how an update is stored or folded into a checkpoint
belongs to `deltas`.
"""
