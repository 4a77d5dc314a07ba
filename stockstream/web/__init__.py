"""The HTTP side of a worker: what it knows of every symbol, and the answers made of it."""
