"""``stockstream demo``: the whole system on one machine with nothing else installed."""

from stockstream.cli.demo.command import command

__all__ = ["command"]
