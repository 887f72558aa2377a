"""Bringing the live release to the servers: which server gets it when, hand-overs, and the watch.

How one kind of server is talked to belongs to `servers`.
"""
