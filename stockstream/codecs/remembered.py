"""Bytes that were written before, looked up instead of written again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")

MOST = 20_000


class Remembered(dict[K, bytes]):
    """The bytes that ``written`` makes of a key, by the key; begins anew when there have come to be many."""

    def __init__(self, written: Callable[[K], bytes]) -> None:
        super().__init__()
        self._written = written

    def __missing__(self, key: K) -> bytes:
        data = self._written(key)
        if len(self) >= MOST:
            self.clear()
        self[key] = data
        return data
