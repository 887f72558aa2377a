"""Benchmarks: a command each, a table last, results as JSON."""
