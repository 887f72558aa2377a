"""Prometheus series.

Events are counted in the process; state is read from the database at a scrape.

Every series and label of factd is defined here, and `exporter` shows a sample of all of them.
"""
