"""The bench of record: all methods on the same edits of a public data set, on a real model.

What one method's public code computes lies in bench/speed/public_memit.py. How data is read belongs
to editor/datasets, how answers are judged to editor/scoring.
"""
