"""How factd stands, for `factd status`, the console and the API: overview, servers, the explanation
of a fact.

Everything here is read-only and needs no model. The functions return values, and the same values as
lines of text or as JSON. How they are printed belongs to `cli`, how a page shows them to `web`.
"""
