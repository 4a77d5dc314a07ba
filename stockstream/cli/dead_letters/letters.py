"""Dead letters as they lie in their topic, and which of them are meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from aiokafka import ConsumerRecord

from stockstream.broker.connection import Connection
from stockstream.broker.snapshot import open_snapshot
from stockstream.cli.place import Place
from stockstream.cli.progress import progress

_MOST_DIGITS = 19
_OURS = ("topic", "partition", "offset", "reason", "error")


@dataclass(frozen=True, slots=True)
class Letter:
    """A record with its original key and value; ``origin`` is where it lay, ``place`` where the letter lies.

    ``put_away_ms`` (epoch ms) is when it became a letter. ``others`` are headers that are not ours.
    """

    place: Place
    put_away_ms: int
    origin: Place
    reason: str
    error: str
    key: bytes | None
    value: bytes | None
    others: tuple[tuple[str, bytes], ...] = ()

    @property
    def symbol(self) -> str | None:
        """The key as text; None without one."""
        return None if self.key is None else self.key.decode(errors="backslashreplace")

    def without_value(self) -> Letter:
        """The same, for lists."""
        return replace(self, value=None)


@dataclass(frozen=True, slots=True)
class Filter:
    """Letters with this reason, original topic and symbol, put away in ``[from_ms, to_ms)``; None: any."""

    reason: str | None = None
    topic: str | None = None
    symbol: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.topic is None or letter.origin.topic == self.topic)
            and (self.symbol is None or letter.symbol == self.symbol)
            and (self.from_ms is None or letter.put_away_ms >= self.from_ms)
            and (self.to_ms is None or letter.put_away_ms < self.to_ms)
        )


async def read_letters(connection: Connection, topic: str, chosen: Filter) -> AsyncIterator[Letter]:
    """The letters that ``topic`` holds now; raises `InvalidInput` if it is missing, and `BrokerUnreachable`."""
    async with open_snapshot(connection, topic, since_ms=chosen.from_ms) as snapshot:
        with progress(f"reading {topic}", snapshot.total) as told:
            async for records in snapshot.batches():
                for record in records:
                    letter = letter_of(record)
                    if chosen.takes(letter):
                        yield letter
                told(snapshot.done)


def letter_of(record: ConsumerRecord) -> Letter:
    """The letter of a record; what its headers do not say is ``?`` and -1."""
    headers = {name: value or b"" for name, value in record.headers}

    def text(name: str) -> str:
        return headers.get(name, b"?").decode(errors="backslashreplace")

    def number(name: str) -> int:
        digits = text(name)
        return int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else -1

    return Letter(
        Place(record.topic, record.partition, record.offset),
        record.timestamp,
        Place(text("topic"), number("partition"), number("offset")),
        text("reason"),
        text("error"),
        record.key,
        record.value,
        tuple((name, value) for name, value in headers.items() if name not in _OURS),
    )
