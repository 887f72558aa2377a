"""Gates: the thresholds of a configuration, the pure policy that judges a report, and its replay.

The thresholds themselves are configuration: to add a gate, see `config.gates`. Approvals by people
belong to `approvals`.
"""
