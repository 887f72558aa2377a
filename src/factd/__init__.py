"""Keeps the factual knowledge inside an open-weight language model current, unattended.

The parts lie at the top of the repository and are linked here. All of factd is installed and
imported under this one name: `factd.daemon`, `factd.editor`, `factd.store` (CONTRIBUTING.md).
"""
