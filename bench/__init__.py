"""Benchmarks. Each is a command that measures, prints a table and gives its results as JSON."""
