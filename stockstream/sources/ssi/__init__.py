"""SSI FastConnect Data: trades and best bids and asks of Vietnam's exchanges, for clients of that broker."""
