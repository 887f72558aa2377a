"""Commands that work on a model: edit, rollback, apply, tune, checks, head corrections, rebase.

Modules that import torch are imported only when such a command runs.
"""
