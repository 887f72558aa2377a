"""Second moments C = E[k kᵀ] of the inputs of the edited matrices, and their text.

They are computed once for each base model and kept as verified files. Nothing here knows of edits.
"""
