"""``stockstream doctor``: what is wrong with the connections and with what they lead to."""

from stockstream.cli.doctor.command import command

__all__ = ["command"]
