"""Notices for operators: which are open, and which channel is sent which notice when.

The notices are derived from how factd stands. How one channel delivers a message belongs to
`channels`.
"""
