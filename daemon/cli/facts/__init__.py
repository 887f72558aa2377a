"""Commands about facts, sources and the relation catalogue.

No command of this room loads a model.
"""
