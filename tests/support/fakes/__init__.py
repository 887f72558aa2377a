"""Fakes over real sockets: HTTP sources, Wikidata, engines, registries and mail servers."""
