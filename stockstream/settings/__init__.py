"""The one reader of the environment and the config file."""

from stockstream.settings.model import Settings, read_symbols

__all__ = ["Settings", "read_symbols"]
