"""What became of a tick."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Why a tick counts or does not.

    The first group is a pure function of the tick; the second depends on what its candle had seen before;
    the third is given to bytes that never became a tick.
    """

    ACCEPTED = "accepted"
    LATE = "late"
    FUTURE = "future"
    BAD_PRICE = "bad price"
    BAD_SIZE = "bad size"
    BAD_SYMBOL = "bad symbol"
    BAD_TIME = "bad time"

    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    FOREIGN_TOPIC = "foreign topic"

    CORRUPT = "corrupt"
    NO_KEY = "no key"
    KEY_MISMATCH = "key mismatch"


LETTERED = frozenset(Verdict) - {Verdict.ACCEPTED, Verdict.DUPLICATE}
"""Verdicts whose records go to ``dead-letters``. A duplicate is no loss: its trade has been counted."""
