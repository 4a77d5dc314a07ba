"""A log that can be read after an outage: what is said a hundred times a second is said once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_EVERY_S = 60.0
_MOST_TEXTS = 1000


class Repeats(logging.Filter):
    """Holds back a warning or an error that was said, word for word, within the last ``every_s``.

    The next one that passes tells how many were held back. For handlers; ``steady_s`` is a steady clock.
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
        said_s, held_back = self._said.get(text, (-self._every_s, 0))
        if now_s - said_s < self._every_s:
            self._said[text] = said_s, held_back + 1
            return False
        if len(self._said) >= _MOST_TEXTS:
            self._said.clear()
        self._said[text] = now_s, 0
        if held_back:
            record.msg, record.args = f"{text} ({held_back:,} times more since)", ()
        return True
