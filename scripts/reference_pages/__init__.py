"""Writes the generated pages of docs/reference from the program itself.

    PYTHONPATH=scripts python -m reference_pages

Here belongs what turns commands, settings and metrics into Markdown. Text that a person writes
belongs into docs/. What a command or a setting means belongs beside it in the code.
"""
