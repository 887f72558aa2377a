"""Whether every figure of the documentation stands in a file of results, and how to make these.

A claim (docs/results/claims.toml) is a piece of a document in which every figure is a placeholder
that points into a JSON file. `make evidence` makes the files that are missing or older than the
code, and prints every claim with the file that it stands in.
"""
