"""ClickHouse's HTTP interface over its embedded engine, as a process of its own, with faults to order.

It serves tests, on loopback: there are no users and no limits. What it runs is ClickHouse's own engine (chdb), so SQL,
tables, merges and errors are the real ones; only the HTTP front is ours. ``python -m stockstream.testing.clickhouse
PATH PORT`` runs it by hand.
"""

from stockstream.testing.clickhouse.controller import ClickHouseFacade
from stockstream.testing.clickhouse.faults import FaultMode

__all__ = ["ClickHouseFacade", "FaultMode"]
