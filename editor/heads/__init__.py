"""MEMAT's corrections of attention heads: which heads carry a fact, how corrections are trained and kept.

A correction is an artefact of its own for each base model and language. It is never part of a fact.
"""
