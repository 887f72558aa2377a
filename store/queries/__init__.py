"""Facts and releases in the database, read and changed: one file for each noun.

Callers write `queries.facts.by_priority(session, …)`. Every status change is a compare-and-swap
that checks its row count. What the daemon keeps about its own running belongs to `operations`.
"""

from factd.store.queries import (
    approvals,
    bases,
    evidence,
    fact_search,
    facts,
    names,
    releases,
    resolution,
    sources,
)

__all__ = [
    "approvals",
    "bases",
    "evidence",
    "fact_search",
    "facts",
    "names",
    "releases",
    "resolution",
    "sources",
]
