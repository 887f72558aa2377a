"""The operator console: pages and a JSON API on the daemon's port. See docs/how-to/operate/console.md."""
