"""What the next batch holds and why every other fact waits.

Screening, limits, and querying the base model about new facts lie here. Nothing here writes
weights.
"""
