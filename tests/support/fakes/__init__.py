"""Fakes at the edge, over real sockets: HTTP sources, Wikidata, serving engines, registries, mail servers."""
