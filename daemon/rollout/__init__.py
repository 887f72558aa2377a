"""Bringing the live release to the servers: hand-overs, their order, and watching what servers serve.

How one engine is talked to belongs to `servers`.
"""
