"""Binance spot: trades by WebSocket, the 24 h ticker and past trades by REST."""
