"""Who may use the console: accounts, tokens, sessions, and the limit on failed logins.

What an account may do is decided in `dependencies` and `actions`.
"""
