"""MEMAT's corrections of attention heads: choosing heads, training, keeping corrections.

A correction is an artefact of its own for each base model and language. It is never part of a fact.
"""
