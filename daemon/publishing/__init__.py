"""Publishing a release and rolling back: write, verify, sign, switch, export.

No model is loaded here. The forms of a release on disk belong to `publishers`, and servers belong
to `rollout`.
"""
