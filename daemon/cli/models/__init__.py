"""Commands that work on a model: edit, apply, tune, checks, head corrections, rebase.

They import what needs torch only when they run.
"""
