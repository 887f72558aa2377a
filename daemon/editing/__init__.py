"""One edit: candidates, their solve and check, the search for the facts that make one fail.

This room decides what is tried next. What a batch holds is decided in `planning`, thresholds in
`gates`; the mathematics lies in the package `editor`.
"""
