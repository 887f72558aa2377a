"""Target values z: what the residual stream must be at the subject's last token.

The optimiser, its batches and the cache on disk lie here. How values become weight updates belongs
to `solving`.
"""
