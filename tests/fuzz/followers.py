"""Records of small topics that every worker follows, and dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzz.mutation import Corpus
from fuzz.records import T0_MS, keyed, parts
from fuzz.target import Take, Target

from stockstream.agents.liveness import Liveness
from stockstream.cli.dead_letters.letters import letter_of
from stockstream.errors import BadMessage
from stockstream.tables.gaps import GapLedger


def _taking(follower: Callable[[], Any]) -> Callable[[Path], Take]:
    def opened(_folder: Path) -> Take:
        taken = follower()

        def take(data: bytes) -> int:
            key, value = parts(data)
            taken._take(SimpleNamespace(key=key, value=value))
            return True

        return take

    return opened


def _told() -> list[Corpus]:
    hole = {"kind": "gap", "from_ms": T0_MS, "until_ms": T0_MS + 9, "cause": "silent", "source": "yahoo", "place": 3}
    told = [
        {**hole, "told_ms": T0_MS},
        {**hole, "kind": "repair", "told_ms": T0_MS, "place": 9},
        {**hole, "kind": "failure", "cause": "away"},
    ]
    return [Corpus([json.dumps(each).encode() for each in told], lambda value: keyed(b"AAPL", value), is_text=True)]


def _ledger() -> Any:
    return GapLedger({}, "gaps", send=_never, hopeless=lambda gap: None, now_ms=lambda: T0_MS)


async def _never(_key: bytes, _value: bytes | None) -> None:
    raise AssertionError("nothing is to be sent")


def _connections() -> list[Corpus]:
    values = [json.dumps({"worker": "w", "until_ms": until_ms}).encode() for until_ms in (0, T0_MS)]
    return [Corpus([keyed(b"yahoo/0", value) for value in values], is_text=True)]


def _letters() -> list[Corpus]:
    return [Corpus([b"yfinance\n0\n17\ncorrupt\nno Avro", b"\n\xd9\xa3\n-1\n\n"], is_text=True)]


def _open_letters(_folder: Path) -> Take:
    def take(data: bytes) -> int:
        names = ("topic", "partition", "offset", "reason", "error")
        headers = list(zip(names, data.split(b"\n"), strict=False))
        letter = letter_of(
            SimpleNamespace(topic="t", partition=0, offset=1, timestamp=T0_MS, key=data, value=None, headers=headers)
        )  # type: ignore[arg-type]
        return letter.origin.offset >= 0 and letter.symbol is not None

    return take


TARGETS = [
    Target("gap-ledger", "records of the ledger of holes", _told, _taking(_ledger), (BadMessage,)),
    Target(
        "connections",
        "records of who has which connection",
        _connections,
        _taking(lambda: Liveness({}, "connections", worker="w", send=_never, now_ms=lambda: T0_MS)),
        (BadMessage,),
    ),
    Target("dead-letters", "headers of dead letters", _letters, _open_letters),
]
