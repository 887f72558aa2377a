"""Notices: what people should know, and when each channel is told.

How one channel delivers belongs to `channels`.
"""
