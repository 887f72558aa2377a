"""The reference world: facts of 1998, a small model trained on them, and what changed since."""
