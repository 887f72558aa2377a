"""Releases that wait for an operator: which ones must wait, and what the operator said.

An approval is bound to the content hash of a batch. Gates that decide by numbers belong to `gates`.
"""
