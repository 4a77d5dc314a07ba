from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.dead_letters.advice import ADVICE, Outlook, advice
from stockstream.cli.dead_letters.letters import Filter, Letter, letter_of
from stockstream.cli.dead_letters.replay import Plan
from stockstream.cli.dead_letters.show import describe, json_line, table
from stockstream.cli.main import main
from stockstream.cli.place import Place
from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import Tick, Verdict
from stockstream.models.verdict import LETTERED
from stockstream.settings import Settings
from stockstream.sinks.delivery import REFUSED

T0_MS = 1_700_000_000_000
commands = import_module("stockstream.cli.dead_letters.command")


def letter(reason: str = "late", value: bytes | None = b"{}", key: bytes | None = b"AAPL", **other: Any) -> Letter:
    fields = {"error": "why", "origin": Place("ticks", 1, 7), "place": Place("dead-letters", 0, 3), **other}
    return Letter(put_away_ms=T0_MS, reason=reason, key=key, value=value, **fields)


def tick(**fields: Any) -> bytes:
    return json.dumps({"symbol": "AAPL", "price": 1.0, "event_time": T0_MS, "kind": "trade", **fields}).encode()


@pytest.mark.parametrize(("said", "offset"), [(b"17", 17), (b"", -1), (b"-1", -1), (b"9" * 5000, -1)])
def test_a_letter_says_where_it_was_or_that_it_does_not_know(said: bytes, offset: int) -> None:
    record: Any = SimpleNamespace(
        topic="dead-letters", partition=0, offset=3, timestamp=T0_MS, key=b"A", value=None, headers=[("offset", said)]
    )
    assert letter_of(record).origin == Place("?", -1, offset)


class NoSchemas:
    async def schema(self, schema_id: int) -> Any:
        raise BadMessage("there is no such schema")


@pytest.mark.parametrize("text", ["ticks-0-7", "a-b-12-345", "t.dead-letters-1-0"])
def test_a_place_is_read_as_it_is_written(text: str) -> None:
    assert str(Place.of(text)) == text


@pytest.mark.parametrize("text", ["", "ticks", "ticks-1", "-1-2", "ticks-a-2", "ticks-1-2x", "ticks-1-²"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="TOPIC-PARTITION-OFFSET"):
        Place.of(text)


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == {*LETTERED, REFUSED}
    assert "not known" in advice("odd")


@pytest.mark.parametrize(
    ("chosen", "takes"),
    [
        (Filter(), True), (Filter(reason="late", topic="ticks", symbol="AAPL"), True), (Filter(reason="future"), False),
        (Filter(topic="tick"), False), (Filter(symbol="MSFT"), False), (Filter(from_ms=T0_MS, to_ms=T0_MS + 1), True),
        (Filter(from_ms=T0_MS + 1), False), (Filter(to_ms=T0_MS), False),
    ],
)  # fmt: skip
def test_filters(chosen: Filter, takes: bool) -> None:
    assert chosen.takes(letter()) is takes


@pytest.mark.parametrize(
    ("put_away", "why"),
    [
        (letter("late", tick(producer_timestamp=T0_MS + 900_001)), "would again"),
        (letter("late", tick(producer_timestamp=T0_MS + 900_000)), None),
        (letter("late", tick(producer_timestamp=T0_MS + 999_999, exchange="VSE")), None),
        (letter("future", tick(producer_timestamp=T0_MS - 60_001)), "ahead of its reception"),
        (letter("bad price", tick(price=0)), "mend the producer"),
        (letter("no key", tick(), key=None), "must be the record's key"),
        (letter("key mismatch", tick(symbol="MSFT")), "must be the record's key"),
        (letter("corrupt", b"\0\0\0\0\1x"), "there is no such schema"),
        (letter("corrupt", tick()), None),
        (letter("expired", tick()), "fragment"),
        (letter("foreign topic", tick()), "another topic"),
        (letter(REFUSED, tick()), "count twice"),
        (letter(REFUSED, tick(trade_id=5)), None),
        (letter(REFUSED, tick(kind="snapshot")), None),
        (letter(REFUSED, b"\0\0\0\0\1x", origin=Place("candles", 0, 1)), "there is no such schema"),
    ],
)
async def test_only_what_can_succeed_by_the_settings_of_now_is_replayed(put_away: Letter, why: str | None) -> None:
    outlook = Outlook(Settings(feed_delay_s={"VSE": 900}), NoSchemas())
    await outlook.prepare(put_away)
    refusal = outlook.refusal(put_away)
    assert refusal is None if why is None else refusal is not None and why in refusal


def test_nothing_that_a_terminal_acts_upon_is_shown() -> None:
    evil = "\x1b[2J\u202e\n"
    odd = letter(evil, f"x{evil}".encode(), evil.encode(), error=evil, others=((evil, evil.encode()),))
    shown = [*table([odd]), *describe(odd, f"bad {evil}"), json_line(odd)]
    assert all(line.isprintable() for line in shown)
    assert "x\\x1b[2J" in "".join(shown)


def test_bytes_are_dumped_and_cut() -> None:
    lines = list(describe(letter(value=b"\0" + bytes(range(65, 90)) * 400), "no Avro"))
    assert "            000000  00 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  .ABCDEFGHIJKLMNO" in lines
    assert lines[-1] == "            and 5,905 bytes more"
    assert list(describe(letter(value=None), "none"))[-1] == "value       none"
    told = list(describe(letter(), Tick("AAPL", T0_MS, 1.5)))
    assert {"            price: 1.5", "            symbol: AAPL"} <= set(told)


def replay(monkeypatch: pytest.MonkeyPatch, plan: Plan, *arguments: str, stdin: str | None, code: int = 0) -> Result:
    """On a terminal if there is a ``stdin``; sends all, or all but one if ``code`` says that a signal came."""

    async def planned(*given: Any) -> Plan:
        return plan

    async def send(connection: Any, letters: Sequence[Letter]) -> tuple[int, int]:
        return len(letters) - bool(code), code

    monkeypatch.setattr(commands, "_planned", planned)
    monkeypatch.setattr(commands, "send", send)
    monkeypatch.setattr(commands, "_is_terminal", lambda: stdin is not None)
    return CliRunner().invoke(main, ["dead-letters", "replay", *arguments], input=stdin)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        ([], "y\n", 0, "2 of 2 letters replayed\n"), ([], "n\n", 1, ""),
        (["--yes"], "", 0, "2 of 2 letters replayed\n"), ([], None, 0, "2 of 2 letters replayed\n"),
        (["--dry-run"], "", 0, "would replay 2 to ticks\n"),
    ],
)  # fmt: skip
def test_a_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], stdin: str | None, code: int, told: str
) -> None:
    result = replay(monkeypatch, Plan(ready=[letter(), letter()]), *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout.removeprefix(f" {stdin}")) == (code, told)  # its terminal shows input
    assert ("Replay 2 letters?" in result.stderr) == (stdin in ("y\n", "n\n"))


def test_exit_codes_tell_whether_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(done=1)
    assert replay(monkeypatch, plan, stdin=None).exit_code == 0
    plan.refuse(letter(), "never")
    result = replay(monkeypatch, plan, stdin=None)
    assert (result.exit_code, result.stdout) == (1, "1 replayed before\n")
    assert result.stderr == "refused 1 (late; ticks-1-7): never\n"
    interrupted = replay(monkeypatch, Plan(ready=[letter(), letter()]), stdin=None, code=130)
    assert (interrupted.exit_code, interrupted.stdout) == (130, "1 of 2 letters replayed, interrupted\n")


def test_reasons_are_those_that_there_are() -> None:
    result = CliRunner().invoke(main, ["dead-letters", "list", "--reason", "lte"])
    assert result.exit_code == 2
    assert str(Verdict.FOREIGN_TOPIC) in result.stderr
