"""HTTP clients, the guard against server-side request forgery (SSRF), and Standard Webhooks signatures.

The only room that opens outgoing HTTP connections itself.
"""
