"""Drives store and editor: configuration, command line, loop, policy, publishing, metrics. Imports no torch itself."""
