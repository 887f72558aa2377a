"""Reports as HTML pages, and figures as SVG.

This room draws what others measured. It computes only layout and asks no model.
"""
