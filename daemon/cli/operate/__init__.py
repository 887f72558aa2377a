"""Commands of operations: set up, run, status, releases, servers, accounts, backup, notices, keys.

None of them loads a model.
"""
