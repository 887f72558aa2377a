"""Commands of operations: set up, run, status, releases, servers, accounts, backup, notices, keys.

No command of this room loads a model, except the worker that `factd worker` starts.
"""
