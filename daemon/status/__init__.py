"""How factd stands, for `factd status`, the console and the API: overview, servers, explained facts.

Everything here is read-only.
"""
