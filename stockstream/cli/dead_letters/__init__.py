"""``stockstream dead-letters``: the records that no candle takes."""

from stockstream.cli.dead_letters.command import command

__all__ = ["command"]
