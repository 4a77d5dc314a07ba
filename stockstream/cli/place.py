"""Where a record lies in Kafka."""

from __future__ import annotations

import re
from typing import NamedTuple

from stockstream.errors import InvalidInput

_PLACE = re.compile(r"(.+)-(\d{1,9})-(\d{1,18})", re.ASCII)


class Place(NamedTuple):
    """Where a record lies; as text ``TOPIC-PARTITION-OFFSET``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"

    @classmethod
    def of(cls, text: str) -> Place:
        """Read a place; raises `InvalidInput`."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise InvalidInput(f"{text!r} is no place of a record: write TOPIC-PARTITION-OFFSET, as in yfinance-3-1024")
        return cls(found[1], int(found[2]), int(found[3]))
