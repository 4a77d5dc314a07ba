"""Finnhub: trades of US shares, currencies and cryptocurrencies over one WebSocket a key."""
