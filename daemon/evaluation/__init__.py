"""What a release is asked, and how it is reported: versioned probe sets, and the page of a report.

Single checks lie in `editor.checks`; verdicts on their numbers in `gates`.
"""
