"""Prometheus series: what happens is counted, what the database says is read at a scrape.

Every series and label of factd is defined here.
"""
