"""The one reader of the environment and the config file."""

from stockstream.settings.model import Settings, read_symbols
from stockstream.settings.sources import variable
from stockstream.settings.types import split

__all__ = ["Settings", "read_symbols", "split", "variable"]
