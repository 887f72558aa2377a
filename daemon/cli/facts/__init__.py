"""Commands about facts, sources and the relation catalogue.

None of them loads a model.
"""
