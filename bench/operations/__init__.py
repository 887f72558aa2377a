"""What the store, the console, publishing and a long-running daemon cost."""
