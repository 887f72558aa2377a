"""What a release is asked: versioned probe sets, and the page that reports on a candidate.

Single checks lie in `editor.checks`; verdicts on their numbers in `gates`.
"""
