"""Gates: what a candidate must reach, the pure policy that judges a report, and replay of old reports.

To add a gate, add it to `measures`. Approvals by people belong to `approvals`.
"""
