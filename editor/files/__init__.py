"""Files that are whole or absent: folders with manifests, checksums, cheap copies.

This room knows bytes and paths. It knows nothing of tensors, models or facts.
"""
