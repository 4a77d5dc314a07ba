"""A server that speaks Binance's protocols, with a made-up market behind it: for tests and benchmarks.

It keeps the documented limits: messages a second and streams of a connection, attempts to connect, weights of requests,
lifetimes with their notice, pings that want a pong; who breaks them is refused, cut off or banned. Its history is what
it streamed.
"""

from stockstream.sources.binance.fake.limits import Limits
from stockstream.sources.binance.fake.server import Client, FakeBinance, trade_frame
from stockstream.sources.binance.fake.tape import FIRST_ID, Tape, Trade

__all__ = ["FIRST_ID", "Client", "FakeBinance", "Limits", "Tape", "Trade", "trade_frame"]
