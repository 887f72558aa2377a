"""What the daemon keeps about its own running: leases, runs, tasks, notices, hand-overs, accounts.

Callers write `operations.leases.take(session, …)`. Every change of a status or of a holder is a
compare-and-swap.
"""

from factd.store.operations import accounts, handovers, leases, notices, runs, tasks

__all__ = ["accounts", "handovers", "leases", "notices", "runs", "tasks"]
