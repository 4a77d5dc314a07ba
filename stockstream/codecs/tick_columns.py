"""Version 2 of the tick schema, read as columns: one step a field for all records of a fetch.

Records are plain if this can read them: our own schema, texts of up to 63 bytes (exchange and source: 15), integers of
up to nine. All others, be they of other schemas or damaged, are left to the reader of single records, which has the
words for errors. A record that is read here was walked to its very end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from operator import itemgetter

import numpy as np

from stockstream.codecs.hot import HOT
from stockstream.codecs.interning import Interner
from stockstream.codecs.walk import FIRST_BYTE, SLACK_BYTES, WORD_BYTES, Ints, Mask, Walk, Words, kept, words_of
from stockstream.core.columns import SNAPSHOT, Columns
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.models.records import Records
from stockstream.models.tick import KINDS

HEADER_BYTES = 5
_FIXED = (*HOT, "exchange", "quote_type", "market_hours", "change_percent", "change", "price_hint", "source")
_SYMBOL_WORDS, _VENUE_WORDS = 8, 2  # each of source and exchange
_STEPS: dict[str, Callable[[Walk], object]] = {
    "long": Walk.long,
    "string": Walk.ascii,
    "double": lambda walk: walk.skip(WORD_BYTES),
}
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
        self._symbols = Interner(_SYMBOL_WORDS, _text)
        self._venues = Interner(2 * _VENUE_WORDS, _venue)

    def read(self, records: Records, headers: Collection[bytes]) -> tuple[Columns, Ints]:
        """The columns of the plain ones of ``records`` that begin with one of ``headers``, and the places of others."""
        records, words = _readable(records)
        place = _candidates(records, words, headers)
        columns = self._read(records, words, place)
        return columns, _others(len(records), columns.place)

    def _read(self, records: Records, words: Words, place: Ints) -> Columns:
        walk = Walk(words, records.value_begin[place] + HEADER_BYTES, np.zeros(len(place), np.bool_))
        text, size = walk.text(_SYMBOL_WORDS)
        walk.bad |= _differ(words, records.key_begin[place], records.key_end[place], text, size)
        symbol = self._symbols.numbers(text, walk.bad)
        walk.bad |= symbol < 0
        event_time, price, last_size = walk.long(), walk.double(), walk.double()
        day_volume, trade_id, kind = walk.long(), walk.long(), walk.long()
        walk.bad |= (kind < 0) | (kind >= len(KINDS))
        received = walk.long()
        walk.ascii()
        exchange, _ = walk.text(_VENUE_WORDS)
        quote_type = walk.long()
        walk.long()
        walk.skip(2 * WORD_BYTES)
        walk.ascii()
        source, _ = walk.text(_VENUE_WORDS)
        venue = self._venues.numbers(_venue_words(exchange, source), walk.bad)
        walk.bad |= venue < 0
        sequence, has_sequence = self._nullables(walk, records.value_end[place])
        is_crypto = (quote_type == _CRYPTOCURRENCY) | (exchange[0] == _CCC)
        day_volume[(day_volume >= 0) & (kind == SNAPSHOT) & (source[0] == _YAHOO) & is_crypto] = -1
        rows = np.nonzero(~walk.bad)[0] if walk.bad.any() else slice(None)
        place = place[rows]
        return Columns(
            place=place,
            offset=records.offsets[place],
            symbol=symbol[rows],
            symbols=self._symbols.values,
            venue=venue[rows],
            venues=self._venues.values,
            kind=kind[rows],
            event_time=event_time[rows],
            price=price[rows],
            last_size=last_size[rows],
            day_volume=day_volume[rows],
            trade_id=trade_id[rows],
            received=received[rows],
            sequence=sequence[rows],
            has_sequence=has_sequence[rows],
            tick=self._reader_of(records, place),
        )

    def _nullables(self, walk: Walk, end: Ints) -> tuple[Ints, Mask]:
        """The sequence, and whether there is one; the rest is stepped over, up to the record's ``end``."""
        sequence = np.zeros(len(end), np.int64)
        present = walk.branch()
        (rows,) = np.nonzero(present)
        if rows.size:
            some = walk.of(rows)
            sequence[rows] = some.long()
            walk.put(rows, some)
        rest = len(self._rest)
        is_empty = (end - walk.pos == rest) & ((walk.word() | walk.word(rest - WORD_BYTES)) == 0)
        (rows,) = np.nonzero(~is_empty)
        if rows.size:
            some = walk.of(rows)
            self._step_over(some)
            some.bad |= some.pos != end[rows]
            walk.put(rows, some)
        return sequence, present

    def _step_over(self, walk: Walk) -> None:
        for kind in self._rest:
            (rows,) = np.nonzero(walk.branch())
            if rows.size == len(walk.pos):
                _STEPS[kind](walk)
            elif rows.size:
                some = walk.of(rows)
                _STEPS[kind](some)
                walk.put(rows, some)

    def _reader_of(self, records: Records, place: Ints) -> Callable[[int], Tick]:
        def tick(index: int) -> Tick:
            at = int(place[index])
            return self._decode(records.key(at), records.value(at))

        return tick


def headers_of(records: Records) -> set[bytes]:
    """The distinct first bytes of the values that have the registry's framing."""
    words = _readable(records)[1]
    begin, end = records.value_begin, records.value_end
    headers = words[np.minimum(begin, len(words) - 1)] & _HEADER
    headers = headers[(end - begin >= HEADER_BYTES) & (headers & FIRST_BYTE == 0)]
    if headers.size and (headers == headers[0]).all():
        headers = headers[:1]
    return {int(header).to_bytes(HEADER_BYTES, "little") for header in np.unique(headers)}


def _readable(records: Records) -> tuple[Records, Words]:
    """The records with the slack behind them that reading by words needs, and their words."""
    end = max(int(records.value_end.max(initial=0)), int(records.key_end.max(initial=0)))
    if end + SLACK_BYTES > len(records.data):
        records = replace(records, data=records.data + bytes(SLACK_BYTES))
    return records, words_of(records.data)


def _candidates(records: Records, words: Words, headers: Collection[bytes]) -> Ints:
    """The places of the records that have a key and one of ``headers``."""
    begin = records.value_begin
    header = words[np.minimum(begin, len(words) - 1)] & _HEADER
    known = [np.uint64(int.from_bytes(each, "little")) for each in headers]
    of_ours = header == known[0] if len(known) == 1 else np.isin(header, known)
    has_both = (records.value_end - begin > HEADER_BYTES) & (records.key_end > records.key_begin)
    return np.nonzero(of_ours & has_both)[0]


def _differ(words: Words, begin: Ints, end: Ints, text: list[Words], size: Ints) -> Mask:
    """Whether the keys are others than the texts, which have the byte of their length before them."""
    differ: Mask = end - begin != size - 1
    key = Walk(words, begin, differ)
    first = key.word() << _BYTE
    differ |= ((first ^ text[0]) & kept(size, 0) & ~FIRST_BYTE) != 0
    for before, column in enumerate(text[1:], 1):
        place = WORD_BYTES * before
        differ |= ((key.word(place - 1) ^ column) & kept(size, place)) != 0
    return differ


def _venue_words(exchange: list[Words], source: list[Words]) -> list[Words]:
    """The two texts as one row: their first words, then, if one of them has more, their second ones."""
    row = [exchange[0], source[0]]
    if len(exchange) + len(source) > len(row):
        nothing = np.zeros_like(row[0])
        row += [[*text, nothing][1] for text in (exchange, source)]
    return row


def _text(row: bytes) -> str:
    return row[1 : 1 + (row[0] >> 1)].decode()


def _venue(row: bytes) -> tuple[str, str]:
    exchange, source, more_exchange, more_source = (row[at : at + WORD_BYTES] for at in range(0, len(row), WORD_BYTES))
    return _text(source + more_source), _text(exchange + more_exchange)


def _others(count: int, place: Ints) -> Ints:
    """The places that are not among ``place``."""
    if len(place) == count:
        return place[:0]
    others = np.ones(count, np.bool_)
    others[place] = False
    return np.nonzero(others)[0]
