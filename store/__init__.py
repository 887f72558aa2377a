"""What is known: facts, who said them and when, releases and runs, in a SQLAlchemy database. Knows no tensors."""
