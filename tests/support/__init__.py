"""Helpers of the tests: a small world, databases, an operator, browsers, killed processes."""
