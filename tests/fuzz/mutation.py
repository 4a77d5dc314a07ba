"""Inputs that are nearly right: valid ones with something changed, and now and then no more than random bytes."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_WORDS = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[^\s,:;=&\[\]{}()#"]+')
_EDGES = [0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 4095, 32767, 32768, 65535, 10**6]
_EDGES += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
_NUMBERS = [
    struct.pack(order + width, number if number < 2 ** (8 * size - 1) else number - 2 ** (8 * size))
    for size, width in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
    for number in _EDGES
    if number < 2 ** (8 * size)
    for order in "<>"
]
_NUMBERS += [struct.pack("<d", number) for number in (0.0, -0.0, 1e308, 5e-324, float("inf"), float("nan"))]
_NUMBERS += [b"\x80" * count + b"\x01" for count in (1, 4, 8, 9, 10, 40)] + [b"\xff" * 9 + b"\x01"]

WORDS = [
    *(str(number).encode() for number in _EDGES),
    *(str(-number).encode() for number in _EDGES),
    *(b"0.1", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"1.5", b"1e3", b"00", b"1_0", b"0x10", b"1" * 400, b"9" * 5000),
    *(b"null", b"true", b"false", b"NaN", b"nan", b"inf", b"-inf", b"Infinity", b"-Infinity"),
    *(b'""', b'"A"', b'"0"', b'"-1"', b'"1e999"', b'"nan"', b'"\\ud800"', b'"\\u0000"', b'"\xc3\xa9"', b'"\xff"'),
    *(b"[]", b"{}", b"[[]]", b'{"a":1}', b'["A"]', b"[null]", b'"' + b"A" * 300 + b'"'),
]
"""What takes the place of a word or number of a text."""
_NESTED = [(b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}")]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Valid inputs of one kind, and how what was made of them is put together (``wrap``).

    Of a text words are exchanged too, against those of ``words`` and of each other.
    """

    items: Sequence[bytes]
    wrap: Callable[[bytes], bytes] = bytes
    is_text: bool = False
    words: Sequence[bytes] = field(default_factory=lambda: WORDS)


class Mutator:
    """Makes inputs of some corpora, the same ones for the same ``seed``."""

    def __init__(self, corpora: Sequence[Corpus], seed: int) -> None:
        self._rng = random.Random(seed)
        self._corpora = [
            (corpus, [_words(item) if corpus.is_text else [] for item in corpus.items]) for corpus in corpora
        ]

    def input(self) -> bytes:
        """The next input: one in ten is no more than random bytes."""
        rng = self._rng
        corpus, words = rng.choice(self._corpora) if len(self._corpora) > 1 else self._corpora[0]
        chance = rng.random()
        if chance < 0.1:
            return corpus.wrap(rng.randbytes(int(256 * rng.random() ** 2)))
        at = int(rng.random() * len(corpus.items))
        item = corpus.items[at]
        if corpus.is_text and words[at] and chance < 0.6:
            item = self._reworded(corpus, item, words[at])
            if chance < 0.5:
                return corpus.wrap(item)
        for _ in range(1 + int(3 * rng.random() ** 2)):
            item = self._changed(corpus, item)
        return corpus.wrap(item)

    def _reworded(self, corpus: Corpus, item: bytes, words: list[tuple[int, int]]) -> bytes:
        """One or two words in the place of others."""
        rng = self._rng
        chosen = sorted({words[int(rng.random() * len(words))] for _ in range(1 + (rng.random() < 0.3))}, reverse=True)
        for begin, end in chosen:
            chance = rng.random()
            if chance < 0.2:
                other, last = words[int(rng.random() * len(words))]
                new = item[other:last]
            elif chance < 0.22:
                opening, closing = rng.choice(_NESTED)
                depth = rng.choice((2, 60, 300, 900, 980, 3000))
                new = opening * depth + b"1" + closing * depth
            else:
                new = corpus.words[int(rng.random() * len(corpus.words))]
            item = item[:begin] + new + item[end:]
        return item

    def _changed(self, corpus: Corpus, item: bytes) -> bytes:
        """One change of bytes."""
        rng = self._rng
        size = len(item)
        if not size:
            return rng.randbytes(3)
        begin = int(rng.random() * size)
        end = min(size, begin + 1 + int(24 * rng.random() ** 3))
        chance = int(rng.random() * 10)
        if chance < 3:  # bits
            changed = bytearray(item)
            changed[begin] ^= 1 << int(rng.random() * 8)
            return bytes(changed)
        if chance == 3:  # a byte
            changed = bytearray(item)
            changed[begin] = int(rng.random() * 256)
            return bytes(changed)
        if chance == 4:  # cut off
            return item[:begin]
        if chance == 5:  # cut out
            return item[:begin] + item[end:]
        if chance == 6:  # again, and again
            times = 1 if rng.random() < 0.9 else int(1 + 2000 * rng.random() ** 3)
            return item[:end] + item[begin:end] * times + item[end:]
        if chance == 7:  # another input goes on
            other = corpus.items[int(rng.random() * len(corpus.items))]
            return item[:begin] + other[int(rng.random() * len(other)) :]
        if chance == 8:  # a number in the place of another
            number = _NUMBERS[int(rng.random() * len(_NUMBERS))]
            return item[:begin] + number + item[begin + len(number) :]
        return item[:begin] + rng.randbytes(end - begin) + item[begin:]  # put in


def _words(item: bytes) -> list[tuple[int, int]]:
    return [found.span() for found in _WORDS.finditer(item)]
