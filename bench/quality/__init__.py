"""How well an edit takes and what it spares, on the reference world.

Frontier, head corrections, long sequences, methods on families. Figures go to docs/results.
"""
