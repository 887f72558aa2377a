"""A release on disk: its published version, and the proof of what a server must answer.

Nothing here loads a model or writes to the database. Publishing a release belongs to `publishing`,
and asking the candidate the questions of a proof belongs to `editing`.
"""
