"""What a model says and how that is measured: scores, greedy answers, drift, rankings, intervals.

Pure measurements of one model on given texts. Which questions are asked, and of which models, is
decided in `exams` and `checks`.
"""
