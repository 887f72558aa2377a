"""The operator console: pages and a JSON API on the daemon's port. See docs/console.md."""
