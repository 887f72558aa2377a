"""Who may use the console: accounts, tokens, sessions, and the limit on failed logins."""
