"""Helpers of the tests: a small world, databases, an operator at a terminal, browsers, processes that are killed."""
