"""``GET /gaps``: the ledger of holes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from multidict import MultiMapping

from stockstream.errors import InvalidInput
from stockstream.models import check_symbol
from stockstream.models.gap import GAP_STATES, Gap
from stockstream.tables.gaps import GapLedger, totals
from stockstream.web.candles import DEFAULT_LIMIT, parse_limit
from stockstream.web.latest import still_reading
from stockstream.web.query import check_names, one_of
from stockstream.web.times import parse_time, stamp

PARAMETERS = ("symbol", "from", "to", "state", "limit")


@dataclass(frozen=True, slots=True)
class GapQuery:
    """The last ``limit`` holes that reach into ``[from_ms, to_ms)``."""

    symbol: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    state: str | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(cls, query: MultiMapping[str]) -> Self:
        """Read the parameters of a URL; `InvalidInput` says which one is wrong and what it may be."""
        check_names(query, PARAMETERS)
        symbol, first, last, state = (query.get(name) for name in PARAMETERS[:4])
        asked = cls(
            None if symbol is None else check_symbol(symbol),
            None if first is None else parse_time("from", first),
            None if last is None else parse_time("to", last),
            None if state is None else one_of("state", state, GAP_STATES),
            parse_limit(query.get("limit", str(DEFAULT_LIMIT))),
        )
        if asked.from_ms is not None and asked.to_ms is not None and asked.from_ms >= asked.to_ms:
            raise InvalidInput("from must lie before to")
        return asked

    def holds(self, gap: Gap) -> bool:
        """Whether a hole is asked for."""
        ends_after = self.from_ms is None or gap.until_ms >= self.from_ms
        begins_before = self.to_ms is None or gap.from_ms < self.to_ms
        return ends_after and begins_before and self.state in (None, gap.state)


class Gaps:
    """Answers from the ledger; 503 while it is still being read."""

    def __init__(self, ledger: GapLedger) -> None:
        self._ledger = ledger

    async def get(self, request: web.Request) -> web.Response:
        """``{"gaps": [...], "summary": [...]}``, ascending by their beginning."""
        asked = GapQuery.parse(request.query)
        if not self._ledger.follower.ready:
            raise still_reading()
        found = [gap for gap in self._ledger.gaps(asked.symbol) if asked.holds(gap)]
        return web.json_response({"gaps": list(map(gap_json, found[-asked.limit :])), "summary": _summary(found)})


def gap_json(gap: Gap) -> dict[str, Any]:
    """A hole as it is answered."""
    repaired: dict[str, Any] = {"repaired_at": None, "repaired_at_ms": None}
    if gap.repaired_ms is not None:
        repaired = stamp("repaired_at", gap.repaired_ms)
    return {
        "symbol": gap.symbol,
        "source": gap.source,
        **stamp("from", gap.from_ms),
        **stamp("to", gap.until_ms),
        "cause": gap.cause,
        "state": gap.state,
        "reason": gap.reason,
        **stamp("told_at", gap.told_ms),
        **repaired,
    }


def _summary(gaps: Iterable[Gap]) -> list[dict[str, Any]]:
    """Number and length of the holes by state and cause."""
    return [
        {"state": state, "cause": cause, "count": count, "seconds": length_ms / 1000}
        for (state, cause), (count, length_ms) in sorted(totals(gaps).items())
    ]
