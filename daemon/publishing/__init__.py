"""From an accepted release to the live one and back: write, verify, sign, switch, export, roll back.

No model is loaded here. The forms of a release on disk belong to `publishers`, servers to `rollout`.
"""
