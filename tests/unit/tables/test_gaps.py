"""The ledger of gaps as its topic's records make it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.models.gap import Gap
from stockstream.tables.gaps import KEPT_MS, GapLedger, encode_control

NOW_MS = 1_700_000_000_000
SYMBOL = "BINANCE:BTCUSDT"


class Ledger(GapLedger):
    """A ledger that is told by hand."""

    def __init__(self) -> None:
        self.clock_ms = NOW_MS
        self.sent: list[tuple[bytes, bytes | None]] = []
        super().__init__(
            {}, "gaps", send=self._keep, hopeless=lambda gap: "no past" if gap.source == "yahoo" else None,
            now_ms=lambda: self.clock_ms,
        )  # fmt: skip

    async def _keep(self, key: bytes, value: bytes | None) -> None:
        self.sent.append((key, value))

    def hear(self, kind: str, place: int, from_s: int, until_s: int, cause: str = "silent", **other: str) -> None:
        tick = Tick(
            SYMBOL, NOW_MS + 1000 * from_s, kind=kind, until=NOW_MS + 1000 * until_s, cause=cause,
            producer_timestamp=NOW_MS + place, **{"source": "binance", **other},
        )  # type: ignore[arg-type]  # fmt: skip
        self.hear_bytes(*encode_control(place, tick))

    def hear_bytes(self, key: bytes | None, value: bytes | None) -> None:
        self._take(SimpleNamespace(key=key, value=value))  # type: ignore[arg-type]

    def told(self) -> list[tuple[int, int, str]]:
        return [((g.from_ms - NOW_MS) // 1000, (g.until_ms - NOW_MS) // 1000, g.state) for g in self.gaps(SYMBOL)]


def test_a_hole_is_open_until_a_later_record_repairs_all_of_it() -> None:
    ledger = Ledger()
    ledger.hear("repair", 1, 0, 99)
    ledger.hear("gap", 2, 10, 20)
    ledger.hear("repair", 3, 10, 15)
    assert ledger.told() == [(10, 20, "open")]
    assert [gap.symbol for gap in ledger.open()] == [SYMBOL]
    ledger.hear("repair", 4, 15, 20, "12 trades")
    (gap,) = ledger.gaps()
    assert (gap.state, gap.reason, gap.repaired_ms) == ("repaired", "12 trades", NOW_MS + 4)
    assert ledger.open() == []


def test_records_that_come_again_in_any_mixture_change_nothing() -> None:
    ledger = Ledger()
    told = [("gap", 2, 10, 20), ("gap", 3, 30, 40), ("repair", 5, 10, 20), ("gap", 7, 10, 20)]
    for kind, *rest in told:
        ledger.hear(kind, *rest)
    before = ledger.gaps()
    for kind, *rest in told[1:] + told:
        ledger.hear(kind, *rest)
    assert ledger.gaps() == before
    assert ledger.told() == [(10, 20, "open"), (30, 40, "open")]


def test_a_hole_that_is_told_again_as_a_greater_one_is_one_hole() -> None:
    ledger = Ledger()
    ledger.hear("gap", 2, 10, 20, "closed 1001")
    ledger.hear("gap", 4, 9, 21, "closed 1001, ids 5–6 missing")
    ledger.hear("gap", 2, 10, 20, "closed 1001")
    (gap,) = ledger.gaps()
    assert (gap.cause, gap.until_ms) == ("closed 1001, ids 5–6 missing", NOW_MS + 21_000)


def test_what_its_source_does_not_tell_cannot_be_repaired() -> None:
    ledger = Ledger()
    ledger.hear("gap", 2, 10, 20, source="yahoo")
    (gap,) = ledger.gaps()
    assert (gap.state, gap.reason) == ("unrepairable", "no past")
    assert ledger.open() == []


async def test_a_failed_attempt_is_told_to_all_workers() -> None:
    ours, theirs = Ledger(), Ledger()
    for ledger in (ours, theirs):
        ledger.hear("gap", 2, 10, 20)
    await ours.failed(ours.open()[0], "HTTP 503")
    theirs.hear_bytes(*ours.sent[0])
    assert [(gap.state, gap.reason) for gap in theirs.gaps()] == [("open", "HTTP 503")]
    theirs.hear("repair", 3, 10, 20, "by hand")
    assert theirs.gaps()[0].reason == "by hand"


def test_old_holes_are_forgotten() -> None:
    ledger = Ledger()
    ledger.hear("gap", 2, 10, 20)
    ledger.clock_ms += KEPT_MS + 1000
    ledger.hear("gap", 2_000_000, 30, 40)
    assert ledger.told() == [(30, 40, "open")]


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", b"\xff", json.dumps({"kind": "gap"}).encode()])
def test_what_is_no_record_is_refused(value: bytes | None) -> None:
    with pytest.raises(BadMessage):
        Ledger().hear_bytes(b"X", value)


NESTED = b"[" * 3000


@pytest.mark.parametrize("kind", ["gap", "repair", "failure"])
@pytest.mark.parametrize("name", ["from_ms", "until_ms", "cause"])
@pytest.mark.parametrize("wrong", [b'"1"', b"1.5", b"null", b"{}", b"-1", b"253402300800000", NESTED, b"1e400"])
def test_a_value_that_cannot_be_is_refused_and_leaves_nothing(kind: str, name: str, wrong: bytes) -> None:
    if name == "cause" and wrong == b'"1"':
        wrong = b"1"
    ledger = Ledger()
    told = {"kind": kind, "source": "binance", "from_ms": 1, "until_ms": 2, "cause": "c", "place": 1, "told_ms": 1}
    value = json.dumps(told | {name: "WRONG"}).encode().replace(b'"WRONG"', wrong)
    with pytest.raises(BadMessage):
        ledger.hear_bytes(b"X", value)
    assert ledger.gaps() == []
    ledger.hear_bytes(b"X", json.dumps(told).encode())


@pytest.mark.parametrize("name", ["place", "told_ms"])
@pytest.mark.parametrize("wrong", ["1", -1, {}, 2**63])
def test_a_hole_without_a_usable_place_is_refused(name: str, wrong: object) -> None:
    told = {"kind": "gap", "source": "binance", "from_ms": 1, "until_ms": 2, "cause": "c", "place": 1, "told_ms": 1}
    with pytest.raises(BadMessage):
        Ledger().hear_bytes(b"X", json.dumps(told | {name: wrong}).encode())


def test_unknown_symbols_have_no_holes() -> None:
    assert Ledger().gaps("X") == []
    assert Gap("X", "binance", 1, 2, "c", 0, 0).state == "open"
