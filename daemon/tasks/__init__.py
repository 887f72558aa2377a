"""Whole tasks of a worker or an operator: edit, audit, rebase, statistics, taking facts back.

A task calls the rooms in order and records the outcome. It can be started again from the beginning.
"""
