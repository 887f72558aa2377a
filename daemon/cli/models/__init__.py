"""Commands that work on a model: get, edit, rollback, apply, tune, checks, heads, rebase.

Modules that import torch are imported only when such a command runs.
"""
