"""Which connection watches a subscribed symbol: a pure function of all subscriptions, the same for every worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stockstream.models import Subscription


@dataclass(frozen=True, slots=True, order=True)
class ConnectionId:
    """One socket: the ``number``-th of a source."""

    source: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}/{self.number}"


def allocate(
    subscriptions: Iterable[Subscription], symbols_per_connection: Callable[[str], int]
) -> dict[ConnectionId, tuple[str, ...]]:
    """The symbols of each connection, never more than its source allows.

    Symbols fill connections in the order in which they were subscribed: an added one goes to the last connection, and
    a removed one moves at most one symbol of each later connection.
    """
    by_source: dict[str, list[Subscription]] = {}
    for subscription in subscriptions:
        by_source.setdefault(subscription.source, []).append(subscription)
    connections: dict[ConnectionId, tuple[str, ...]] = {}
    for source, watched in by_source.items():
        size = symbols_per_connection(source)
        symbols = [found.symbol for found in sorted(watched, key=lambda found: (found.since, found.symbol))]
        for number, first in enumerate(range(0, len(symbols), size)):
            connections[ConnectionId(source, number)] = tuple(symbols[first : first + size])
    return connections
