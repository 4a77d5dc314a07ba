"""A server that speaks Yahoo's protocol, with a made-up market behind it: for tests, benchmarks and the demo.

It behaves as Yahoo's has been observed to: the first 100 symbols of a connection count and further ones are dropped
silently, unknown symbols use up a place, a subscription is answered with the last known price however old, at most one
snapshot a second and symbol follows, and a malformed command drops the connection without a status code.
"""

from stockstream.sources.market import Instrument, Market, MarketClock, Trade, instruments
from stockstream.sources.yahoo.fake.calendars import write_always_open
from stockstream.sources.yahoo.fake.server import FakeYahoo
from stockstream.sources.yahoo.fake.tape import Sent, Tape

__all__ = [
    "FakeYahoo",
    "Instrument",
    "Market",
    "MarketClock",
    "Sent",
    "Tape",
    "Trade",
    "instruments",
    "write_always_open",
]
