"""Backup, restore, and how long old files and rows are kept.

An archive is verified before a byte of it is used. Database dumps belong to `store.database`.
"""
