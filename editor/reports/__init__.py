"""Reports as HTML pages and figures as SVG.

This room draws what others measured. It computes nothing but layout and asks no model.
"""
