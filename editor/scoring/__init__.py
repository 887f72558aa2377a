"""Measurements of one model on given texts: scores, greedy answers, drift, rankings, intervals.

`exams` and `checks` decide which texts are given, and to which models.
"""
