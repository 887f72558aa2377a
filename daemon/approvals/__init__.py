"""Releases that wait for an operator: why they wait, and what the operator decided.

An approval belongs to a batch, by the content hash of the batch. A changed batch waits again. Gates
that decide by numbers belong to `gates`.
"""
