"""Version 2 of the tick schema, read as columns: one step a field for all records of a fetch.

Records are plain if this can read them: our own schema, texts of up to 63 bytes (exchange and source: 15), integers of
up to nine. All others, be they of other schemas or damaged, are left to the reader of single records, which has the
words for errors. A record that is read here was walked to its very end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockstream.codecs.hot import HOT
from stockstream.codecs.interning import Interner
from stockstream.codecs.walk import FIRST_BYTE, WORD_BYTES, Buffer, Ints, Mask, Walk, Words, kept
from stockstream.core.columns import SNAPSHOT, Columns
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.models.records import Records
from stockstream.models.tick import KINDS

HEADER_BYTES = 5
_FIXED = (*HOT, "exchange", "quote_type", "market_hours", "change_percent", "change", "price_hint", "source")
_SYMBOL_WORDS, VENUE_WORDS = 8, 2  # each of source and exchange
_DOUBLE_BYTES = np.int64(8)
_MOST_AT_ONCE = 8192  # of records: their windows fit into a processor's cache
_HEADER = np.uint64((1 << 8 * HEADER_BYTES) - 1)
_BYTE = np.uint64(8)


def _word(text: bytes) -> int:
    """A short Avro text as it is read."""
    return int.from_bytes(bytes([2 * len(text)]) + text, "little")


_CCC, _YAHOO, _CRYPTOCURRENCY = _word(b"CCC"), _word(b"yahoo"), 41


class TickColumns:
    """Reads the plain ones of records into `Columns`; remembers symbols and venues from call to call."""

    def __init__(self, decode: Callable[[bytes | None, bytes | None], Tick]) -> None:
        fields = TICK_SCHEMA_V2["fields"]
        if tuple(map(itemgetter("name"), fields[: len(_FIXED)])) != _FIXED or fields[len(_FIXED)]["name"] != "sequence":
            raise RuntimeError("the order of the tick schema's fields has changed")
        self._decode = decode
        self._rest = [field["type"][1] for field in fields[len(_FIXED) + 1 :]]
        self._symbols = Interner(_SYMBOL_WORDS, text_of)
        self._venues = Interner(2 * VENUE_WORDS, _venue)

    def read(self, records: Records, headers: Collection[bytes]) -> tuple[Columns, Ints]:
        """The columns of the plain ones of ``records`` that begin with one of ``headers``, and the places of others."""
        columns, _, others = self.read_to_rest(records, headers)
        return columns, others

    def read_to_rest(self, records: Records, headers: Collection[bytes]) -> tuple[Columns, Ints, Ints]:
        """As `read`; in between, where in ``records.data`` each plain record goes on after ``producer_timestamp``."""
        self._symbols.make_room()
        self._venues.make_room()
        buffer = Buffer(records.data)
        known = [int.from_bytes(header, "little") for header in headers]
        count = len(records)
        parts = [self._read(buffer, records, begin, known) for begin in range(0, max(count, 1), _MOST_AT_ONCE)]
        joined = parts[0]
        if len(parts) > 1:
            joined = {name: np.concatenate([part[name] for part in parts]) for name in joined}
        place, rest = joined["place"], joined.pop("rest")
        columns = Columns(
            **joined,
            offset=records.offsets[place],
            symbols=self._symbols.values,
            venues=self._venues.values,
            tick=lambda index: self._decode(records.key(place[index]), records.value(place[index])),
        )
        return columns, rest, others_than(place, count)

    def _read(self, buffer: Buffer, records: Records, first: int, headers: list[int]) -> dict[str, NDArray[Any]]:
        """The columns of a part of ``records``, by their names in `Columns`."""
        part = slice(first, first + _MOST_AT_ONCE)
        key_begin, key_end = records.key_begin[part], records.key_end[part]
        begin, end = records.value_begin[part], records.value_end[part]
        walk = Walk(buffer, begin)
        header = header_numbers(walk)
        is_ours = header == headers[0] if len(headers) == 1 else np.isin(header, headers)
        (rows,) = (is_ours & (key_end > key_begin)).nonzero()
        if len(rows) < len(begin):
            walk, key_begin, key_end, end = walk.of(rows), key_begin[rows], key_end[rows], end[rows]
        walk.skip(HEADER_BYTES)
        text, size = walk.text(_SYMBOL_WORDS)
        walk.bad |= _differ(Walk(buffer, key_begin), key_end - key_begin, text, size)
        symbol = self._symbols.numbers(text, walk.bad)
        walk.bad |= symbol < 0
        event_time, price, last_size = walk.long(), walk.double(), walk.double()
        day_volume, trade_id, kind = walk.long(), walk.long(), walk.long()
        walk.bad |= (kind < 0) | (kind >= len(KINDS))
        received, rest = walk.long(), walk.pos
        walk.ascii()
        exchange, _ = walk.text(VENUE_WORDS)
        quote_type = walk.long()
        walk.long()
        walk.skip(2 * WORD_BYTES)
        walk.ascii()
        source, _ = walk.text(VENUE_WORDS)
        venue = self._venues.numbers(_venue_words(exchange, source), walk.bad)
        walk.bad |= venue < 0
        sequence, has_sequence = self._nullables(walk, end)
        is_crypto = (quote_type == _CRYPTOCURRENCY) | (exchange[0] == _CCC)
        day_volume[(day_volume >= 0) & (kind == SNAPSHOT) & (source[0] == _YAHOO) & is_crypto] = -1
        columns = {
            "place": rows + first,
            "rest": rest,
            "symbol": symbol,
            "venue": venue,
            "kind": kind,
            "event_time": event_time,
            "price": price,
            "last_size": last_size,
            "day_volume": day_volume,
            "trade_id": trade_id,
            "received": received,
            "sequence": sequence,
            "has_sequence": has_sequence,
        }
        if not walk.bad.any():
            return columns
        good = ~walk.bad
        return {name: column[good] for name, column in columns.items()}

    def _nullables(self, walk: Walk, end: Ints) -> tuple[Ints, Mask]:
        """The sequence, and whether there is one; the rest is stepped over, up to the record's ``end``."""
        sequence, has_sequence = np.zeros(len(end), np.int64), np.zeros(len(end), np.bool_)
        present = walk.branch()
        if present is not None:
            has_sequence = present
            (rows,) = present.nonzero()
            some = walk.of(rows)
            sequence[rows] = some.long()
            walk.put(rows, some)
        rest = len(self._rest)
        filled = (end - walk.pos != rest) | (walk.word() | walk.word(rest - WORD_BYTES) != 0)
        if filled.any():
            (rows,) = filled.nonzero()
            some = walk.of(rows)
            self._step_over(some)
            some.bad |= some.pos != end[rows]
            walk.put(rows, some)
        return sequence, has_sequence

    def _step_over(self, walk: Walk) -> None:
        for kind in self._rest:
            present = walk.branch()
            if present is None:
                continue
            if kind == "double":
                walk.advance(present * _DOUBLE_BYTES)
                continue
            (rows,) = present.nonzero()
            some = walk.of(rows)
            some.ascii() if kind == "string" else some.long()
            walk.put(rows, some)


def header_numbers(walk: Walk) -> Words:
    """The first bytes of values, each a number."""
    return walk.word() & _HEADER


def headers_of(records: Records) -> set[bytes]:
    """The distinct first bytes of the values that have the registry's framing."""
    headers = Walk(Buffer(records.data), records.value_begin).word() & _HEADER
    headers = headers[(records.value_end - records.value_begin >= HEADER_BYTES) & (headers & FIRST_BYTE == 0)]
    if headers.size and (headers == headers[0]).all():
        headers = headers[:1]
    return {int(header).to_bytes(HEADER_BYTES, "little") for header in np.unique(headers)}


def _differ(key: Walk, lengths: Ints, text: list[Words], sizes: Ints) -> Mask:
    """Whether the keys are others than the texts, which have the byte of their length before them."""
    differ: Mask = lengths != sizes - 1
    differ |= (key.word() << _BYTE ^ text[0]) & kept(sizes, 0) > FIRST_BYTE
    for place, column in enumerate(text[1:], 1):
        before = WORD_BYTES * place
        differ |= (key.word(before - 1) ^ column) & kept(sizes, before) != 0
    return differ


def _venue_words(exchange: list[Words], source: list[Words]) -> list[Words]:
    """The two texts as one row: their first words, then, if one of them has more, their second ones."""
    row = [exchange[0], source[0]]
    if len(exchange) + len(source) > len(row):
        nothing = np.zeros_like(row[0])
        row += [[*text, nothing][1] for text in (exchange, source)]
    return row


def text_of(row: bytes) -> str:
    """The text that begins a row of words with the byte of its length."""
    return row[1 : 1 + (row[0] >> 1)].decode()


def _venue(row: bytes) -> tuple[str, str]:
    exchange, source, more_exchange, more_source = (row[at : at + WORD_BYTES] for at in range(0, len(row), WORD_BYTES))
    return text_of(source + more_source), text_of(exchange + more_exchange)


def others_than(place: Ints, count: int) -> Ints:
    """The places below ``count`` that are not among ``place``."""
    if len(place) == count:
        return place[:0]
    others = np.ones(count, np.bool_)
    others[place] = False
    return np.nonzero(others)[0]
