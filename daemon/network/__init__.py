"""HTTP clients, the SSRF guard (server-side request forgery), and webhook signatures.

The only room that opens outgoing HTTP connections itself.
"""
