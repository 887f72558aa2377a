"""From facts to texts: the edits that are written, and the probes that are asked. All pure.

The wordings themselves lie in `store.catalogue`.
"""
