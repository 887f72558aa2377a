"""The reference world: real facts of 1998, a small model trained on them, and what has changed since."""
