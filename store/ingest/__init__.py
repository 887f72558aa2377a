"""Claims of sources: parsed, checked and written into the database.

A bad line is set aside with its reason and stops nothing else. Talking to sources belongs to the
daemon.
"""
