"""An exam: all questions to the base, the live release and a candidate, and the report on them.

This room asks each model once and collects the evidence. Single measurements belong to `checks`,
verdicts belong to the daemon.
"""
