"""Gates: their thresholds, the pure policy that judges a report, and old reports judged again.

To add a gate, see `measures`. Approvals by people belong to `approvals`.
"""
