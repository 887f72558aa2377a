"""The configuration file: its tables, their defaults, and how file and environment are read once.

Schedules and time windows, which are pure, lie here too. Nothing here opens a database or a model.
"""
