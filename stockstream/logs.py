"""A log that can be read after an outage: what is said a hundred times a second is said ten times a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_EVERY_S = 60.0
_FEW = 10
_MOST_TEXTS = 1000


class Repeats(logging.Filter):
    """Lets a warning or an error through, word for word the same, ten times in ``every_s``, and holds back the rest.

    The first one after that tells how many were held back. For handlers; ``steady_s`` is a steady clock.
    """

    def __init__(self, every_s: float = _EVERY_S, steady_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._steady_s = every_s, steady_s
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be handled."""
        if record.levelno < logging.WARNING:
            return True
        text, now_s = record.getMessage(), self._steady_s()
        first_s, count = self._said.get(text, (-self._every_s, 0))
        if now_s - first_s < self._every_s:
            self._said[text] = first_s, count + 1
            return count < _FEW
        if len(self._said) >= _MOST_TEXTS:
            self._said.clear()
        self._said[text] = now_s, 1
        if count > _FEW:
            record.msg, record.args = f"{text} ({count - _FEW:,} times more before)", ()
        return True
