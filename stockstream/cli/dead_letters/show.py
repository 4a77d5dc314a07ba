"""Letters as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from stockstream.cli.dead_letters.advice import advice
from stockstream.cli.dead_letters.letters import Letter
from stockstream.cli.text import aligned, plain
from stockstream.models import Candle, Tick
from stockstream.web.times import rfc3339

_LINE_BYTES = 16
_SHOWN_BYTES = 4096


def table(letters: Sequence[Letter]) -> Iterator[str]:
    """The lines of a table."""
    rows: list[tuple[str, ...]] = [("when", "record", "key", "reason", "error")]
    for letter in letters:
        texts = (str(letter.origin), letter.symbol or "-", letter.reason, letter.error)
        rows.append((rfc3339(letter.put_away_ms), *map(plain, texts)))
    return aligned(rows)


def json_line(letter: Letter) -> str:
    """A letter as one line of JSON; its value is left to `describe`."""
    return json.dumps(
        {
            "when": rfc3339(letter.put_away_ms),
            "when_ms": letter.put_away_ms,
            "letter": str(letter.place),
            "topic": letter.origin.topic,
            "partition": letter.origin.partition,
            "offset": letter.origin.offset,
            "key": letter.symbol,
            "reason": letter.reason,
            "error": letter.error,
        }
    )


def describe(letter: Letter, content: Tick | Candle | str) -> Iterator[str]:
    """Everything about a letter; ``content`` is what its value was decoded to, or why that could not be."""
    yield f"letter      {letter.place}, put away {rfc3339(letter.put_away_ms)}"
    yield f"record      {plain(str(letter.origin))}"
    yield f"key         {'none' if letter.symbol is None else plain(letter.symbol)}"
    yield f"reason      {plain(letter.reason)}: {plain(letter.error)}"
    yield f"what to do  {advice(letter.reason)}"
    for name, value in letter.others:
        yield f"header      {plain(name)}: {plain(value.decode(errors='backslashreplace'))}"
    if letter.value is None:
        yield "value       none"
        return
    yield f"value       {len(letter.value):,} bytes"
    if isinstance(content, str):
        yield f"            not decoded: {plain(content)}"
        yield from _dump(letter.value)
    else:
        for name, value in asdict(content).items():
            if value is not None:
                yield f"            {name}: {plain(str(value))}"


def _dump(value: bytes) -> Iterator[str]:
    """Text as it is, anything else as hexadecimal."""
    shown = value[:_SHOWN_BYTES]
    text = shown.decode(errors="replace")
    if "\0" not in text and "\ufffd" not in text:
        yield from (f"            {plain(line)}" for line in text.splitlines())
    else:
        for at in range(0, len(shown), _LINE_BYTES):
            line = shown[at : at + _LINE_BYTES]
            letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
            yield f"            {at:06x}  {line.hex(' '):{3 * _LINE_BYTES - 1}}  {letters}"
    if len(value) > len(shown):
        yield f"            and {len(value) - len(shown):,} bytes more"
