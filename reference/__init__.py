"""The reference world: real facts as of 1998, a small model that was taught them, and what changed since."""
