"""What lies on disk of a release: published versions, and the proof of what a server must answer.

Nothing here loads a model or reads the database's facts. Bringing a release out belongs to
`publishing`.
"""
