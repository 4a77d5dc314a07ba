"""``stockstream explain``: the ticks behind one candle."""

from stockstream.cli.explain.command import command

__all__ = ["command"]
