"""The operator console: pages and a JSON API on the daemon's port.

docs/how-to/operate/console.md is its manual.

Pages and API do the same things through the same functions: `actions` changes something, `status`
and the store's queries answer questions. `auth` says who asks. Nothing here loads a model.
"""
