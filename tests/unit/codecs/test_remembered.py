from __future__ import annotations

from stockstream.codecs import remembered
from stockstream.codecs.remembered import Remembered


def test_a_key_is_written_once() -> None:
    written: list[int] = []

    def write(key: int) -> bytes:
        written.append(key)
        return str(key).encode()

    memory = Remembered(write)
    assert [memory[1], memory[2], memory[1]] == [b"1", b"2", b"1"]
    assert written == [1, 2]


def test_what_is_remembered_has_a_bound() -> None:
    memory = Remembered[int](lambda key: str(key).encode())
    for key in range(2 * remembered.MOST + 1):
        assert memory[key] == str(key).encode()
        assert len(memory) <= remembered.MOST
