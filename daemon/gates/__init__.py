"""Gates: what a candidate must reach, the pure policy that judges a report, and replay of old reports.

The thresholds are configuration: to add a gate, see `config.gates`. Approvals by people belong to
`approvals`.
"""
