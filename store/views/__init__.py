"""Summaries of the whole database: lists for the console, figures for metrics, a snapshot for notices.

Callers write `views.figures.figures(session, …)`. Each reads a bounded number of rows through an
index, whatever the history's length. Nothing here changes a row.
"""

from factd.store.views import figures, overviews, snapshots

__all__ = ["figures", "overviews", "snapshots"]
