"""Files that are either whole or absent: folders with manifests, checksums, cheap copies.

This room knows bytes and paths. It knows nothing about tensors, models or facts.
"""
