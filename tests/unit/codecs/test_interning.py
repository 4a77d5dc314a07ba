from __future__ import annotations

import numpy as np
import pytest

from stockstream.codecs import interning
from stockstream.codecs.interning import Interner
from stockstream.codecs.walk import Words


def words_of(texts: list[bytes], width: int = 2) -> list[Words]:
    rows = np.frombuffer(b"".join(text.ljust(8 * width, b"\0") for text in texts), np.uint64)
    return list(rows.reshape(-1, width).T.copy())


def interner() -> Interner[str]:
    return Interner(3, lambda row: row.rstrip(b"\0").decode())


def numbers(interner: Interner[str], texts: list[bytes], width: int = 2) -> list[int]:
    found: list[int] = interner.numbers(words_of(texts, width), np.zeros(len(texts), np.bool_)).tolist()
    return found


def test_equal_texts_have_one_number_in_every_call() -> None:
    known = interner()
    assert numbers(known, [b"B", b"A", b"B", b"A-LONGER-ONE"]) == [0, 1, 0, 2]
    assert numbers(known, [b"A-LONGER-ONE", b"A", b"NEW"]) == [2, 1, 3]
    assert known.values == ["B", "A", "A-LONGER-ONE", "NEW"]


def test_a_text_has_the_same_number_however_long_its_neighbours_are(monkeypatch: pytest.MonkeyPatch) -> None:
    known = interner()
    assert numbers(known, [b"A", b"B"], width=3) == [0, 1]
    monkeypatch.setattr(known, "_learn", None)  # it must be found without
    assert numbers(known, [b"B", b"A"], width=1) == [1, 0]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interning, "_hashes", lambda words: np.full(len(words[0]), 2**64 - 1, np.uint64))
    known = interner()
    texts = [str(number).encode() for number in range(100)]  # more than are searched for
    for _ in range(2):
        assert numbers(known, texts) == list(range(100))
    assert known.values == [str(number) for number in range(100)]


def test_rows_that_are_bad_or_no_text_have_none_and_are_not_remembered() -> None:
    known = interner()
    found = known.numbers(words_of([b"A", b"\xff", b"C", b"A"]), np.array([False, False, True, True]))
    assert found.tolist() == [0, -1, -1, -1]
    assert known.values == ["A"]


def test_begins_anew_when_there_was_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interning, "_MOST_VALUES", 3)
    known = interner()
    assert numbers(known, [b"A", b"B", b"C"]) == [0, 1, 2]
    known.make_room()
    assert numbers(known, [b"C", b"D"]) == [2, -1]
    before = known.values
    known.make_room()
    assert numbers(known, [b"D", b"C"]) == [0, 1]
    assert before == ["A", "B", "C"]
    assert known.values == ["D", "C"]


def test_a_hundred_thousand_symbols_have_their_numbers() -> None:
    known = interner()
    texts = [f"VENUE:{number}".encode() for number in range(100_000)]
    for begin in range(0, len(texts), 10_000):
        assert numbers(known, texts[begin : begin + 10_000]) == list(range(begin, begin + 10_000))
    assert numbers(known, texts) == list(range(100_000))
