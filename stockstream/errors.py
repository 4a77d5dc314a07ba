"""Every error that stockstream raises on purpose.

StockstreamError                  one line that says what is wrong and what to do; exit code 1
├── SettingsError                 a setting is unknown, malformed or contradicts another; exit code 2
│   └── BrokerRefused             a broker is there, but refuses the login or the certificate, or we refuse its own
├── InvalidInput                  a file, argument or request cannot be read as what it should be
│   ├── InvalidSymbol             not 1–64 of ``A–Z a–z 0–9 . _ - ^ = : /``
│   ├── InvalidInterval           not one of ``1m``, ``5m``, ``1d``
│   ├── InvalidCalendar           a calendar's file; names the file, the line or key, and what to write
│   └── MalformedTrades           a trades file's line; carries its number
├── AnsweredNo                    the answer of a command is no: a check failed, a schema is refused
├── HistoryFailed                 a venue did not give what it was asked for of the past
├── RequestFailed             a venue did not answer a request; says whether and when it may be asked again
├── BadMessage                    one message from a feed or topic cannot be decoded; counted, never fatal
├── Unreachable                   a server does not answer; passing, retried with back-off
│   ├── BrokerUnreachable
│   ├── RegistryUnreachable
│   └── SinkUnreachable
├── SchemaRefused                 the registry holds a schema that ours is not compatible with
├── StoreFailed                   the disk of the data folder takes nothing more; start again once it does
├── TopicMismatch                 a topic's partitions or offsets are not what the state was built on
├── NewerState                    stored rows were written by a newer version, and cannot be read
├── SinkRefused                   the sink will never take these rows: they go to ``dead-letters``
└── PartitionMoved                this worker no longer owns the partition; nothing was written
"""

from __future__ import annotations

LEASE_LOST = 70
"""Exit code of a worker that was put out of its group while it had something to send; start it again."""


class StockstreamError(Exception):
    """Base of all; ``str(error)`` is one line fit for a user."""

    exit_code = 1


class SettingsError(StockstreamError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class BrokerRefused(SettingsError):
    """A broker is there, but how it is to be reached is set wrongly: to wait for it does not help."""


class InvalidInput(StockstreamError):
    """A file, argument or request cannot be read as what it should be."""


class InvalidSymbol(InvalidInput):
    """Not a symbol."""


class InvalidInterval(InvalidInput):
    """Not an interval that candles are made for."""


class InvalidCalendar(InvalidInput):
    """A file of an exchange calendar cannot be used; names the file, the line or key, and what to write."""


class MalformedTrades(InvalidInput):
    """A line (or as ``unit`` says a row) of a trades file is no trade; ``line`` counts from 1, 0 is a schema."""

    def __init__(self, name: str, line: int, reason: str, unit: str = "line") -> None:
        super().__init__(f"{name}, {unit} {line}: {reason}" if line else f"{name}: {reason}")
        self.line = line


class AnsweredNo(StockstreamError):
    """What a command was asked is not so; it did find that out."""


class HistoryFailed(StockstreamError):
    """A venue did not give what it was asked for of the past."""


class RequestFailed(StockstreamError):
    """A venue did not answer a request.

    ``is_fatal``: a human has to mend it first. ``retry_after_s`` is how long it wants to be left alone, if it said so,
    and ``code`` its own number for what is wrong.
    """

    def __init__(
        self, told: str, *, is_fatal: bool = False, retry_after_s: float | None = None, code: int | None = None
    ) -> None:
        super().__init__(told)
        self.is_fatal, self.retry_after_s, self.code = is_fatal, retry_after_s, code


class BadMessage(StockstreamError):
    """One message from a feed or topic cannot be decoded."""


class Unreachable(StockstreamError):
    """A server does not answer."""


class BrokerUnreachable(Unreachable):
    """No Kafka broker answers."""


class RegistryUnreachable(Unreachable):
    """The schema registry does not answer."""


class SinkUnreachable(Unreachable):
    """ClickHouse does not answer, or not in time, or is overloaded."""


class SchemaRefused(StockstreamError):
    """The registry holds a schema that ours is not compatible with."""


class StoreFailed(StockstreamError):
    """The disk of the data folder takes nothing more."""


class TopicMismatch(StockstreamError):
    """A topic's partitions or offsets are not what the state was built on."""


class NewerState(StockstreamError):
    """Stored rows were written by a newer version, and cannot be read."""


class SinkRefused(StockstreamError):
    """The sink will never take these rows."""


class PartitionMoved(StockstreamError):
    """This worker no longer owns the partition; nothing was written."""
