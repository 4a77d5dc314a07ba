"""Faults to order: which request fails next, and how."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum


class FaultMode(StrEnum):
    """How a request fails."""

    SERVER_ERROR = "500"
    """A plain internal error; nothing is executed."""
    MEMORY = "memory"
    """The memory limit (241); nothing is executed."""
    PARTS = "parts"
    """Too many parts (252); nothing is executed."""
    FULL = "full"
    """No room on its disk (243); nothing is executed."""
    READ_ONLY = "read-only"
    """The table takes no writes, as one that has lost its Keeper (242); nothing is executed."""
    READ_ONLY_USER = "read-only-user"
    """The user may only read (164); nothing is executed."""
    HANG = "hang"
    """No answer for ``seconds``, then the connection is cut; nothing is executed."""
    SLOW = "slow"
    """Executed and answered after ``seconds``."""
    RESET = "reset"
    """The connection is cut; nothing is executed."""
    LOST = "lost"
    """Executed, then the connection is cut: the client cannot know."""
    REFUSE = "refuse"
    """The port is closed for ``seconds``, to everyone."""


ERRORS = {
    FaultMode.SERVER_ERROR: (1000, "injected (POCO_EXCEPTION)"),
    FaultMode.MEMORY: (241, "Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)"),
    FaultMode.PARTS: (252, "Too many parts (TOO_MANY_PARTS)"),
    FaultMode.FULL: (243, "Cannot reserve 1.00 MiB, not enough space (NOT_ENOUGH_SPACE)"),
    FaultMode.READ_ONLY: (242, "Table is in readonly mode (TABLE_IS_READ_ONLY)"),
    FaultMode.READ_ONLY_USER: (164, "Cannot execute query in readonly mode (READONLY)"),
}


@dataclass(slots=True)
class Fault:
    """``mode`` for the next ``count`` requests whose SQL contains ``match``, whatever its case."""

    mode: FaultMode
    count: int = 1
    seconds: float = 60.0
    match: str = ""


class Faults:
    """The faults still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []
        self._lifted = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Queue a fault."""
        self._pending.append(fault)

    def clear(self) -> None:
        """Forget all; whatever waits because of one goes on at once."""
        self._pending.clear()
        self._lifted.set()
        self._lifted = asyncio.Event()

    def take(self, sql: str) -> Fault | None:
        """The fault that this request meets, counted down."""
        for fault in self._pending:
            if fault.match.lower() in sql.lower():
                fault.count -= 1
                if fault.count <= 0:
                    self._pending.remove(fault)
                return fault
        return None

    async def last(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as the faults are cleared."""
        try:
            await asyncio.wait_for(self._lifted.wait(), seconds)
        except TimeoutError:
            return
