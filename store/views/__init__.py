"""Summaries of the database: lists for the console, figures for metrics, a snapshot for notices.

Callers write `views.figures.figures(session, …)`. Each view reads a bounded number of rows through
an index, however long the history is. Nothing here changes a row.
"""

from factd.store.views import figures, overviews, snapshots

__all__ = ["figures", "overviews", "snapshots"]
