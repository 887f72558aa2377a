"""From sources into the store: pulling sources, and storing deliveries that arrive over webhooks.

How one kind of source is read belongs to `sources`.
"""
