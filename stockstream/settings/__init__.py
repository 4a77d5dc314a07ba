"""The one reader of the environment and the config file."""

from stockstream.settings.model import Settings

__all__ = ["Settings"]
