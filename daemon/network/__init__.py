"""HTTP clients, the guard against server-side request forgery, and Standard Webhooks signatures.

The only room that opens outgoing HTTP connections of its own.
"""
