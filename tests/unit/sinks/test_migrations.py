"""The shipped schema, read as text."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from stockstream.errors import SettingsError
from stockstream.models import Candle, Tick
from stockstream.sinks.migrations import migrations, quoted

_TYPES = {"string": "String", "int": "Int32", "long": "Int64", "double": "Float64", "boolean": "Bool"}


def columns(table: str) -> dict[str, str]:
    """Each column of a CREATE TABLE with its type, without LowCardinality, codecs and defaults."""
    statement = next(s for step in migrations() for s in step.statements if f"EXISTS {{database}}.{table} (" in s)
    found = re.findall(r"^  `?(\w+)`? +(.+?)(?: CODEC| ALIAS| MATERIALIZED| DEFAULT|,?$)", statement, re.MULTILINE)
    return {name: re.sub(r"LowCardinality\((.*)\)$", r"\1", kind) for name, kind in found if name != "INDEX"}


def expected(kind: object) -> str:
    if isinstance(kind, list):
        return f"Nullable({_TYPES[kind[1]]})"
    return "String" if isinstance(kind, dict) else _TYPES[str(kind)]


def test_the_archive_has_every_field_of_a_tick_and_its_origin() -> None:
    present = columns("ticks")
    wanted = {f.name: expected(f.metadata["avro"]) for f in fields(Tick)}
    assert {name: present.get(name) for name in wanted} == wanted
    assert set(present) - set(wanted) == {
        "topic", "partition", "offset", "verdict", "event_at", "event_date", "inserted_at",
    }  # fmt: skip


def test_candles_have_every_field() -> None:
    present = columns("candles_store")
    assert set(present) == {f.name for f in fields(Candle)} | {"inserted_at"}
    times = {"window_start", "window_end", "session_open", "session_close"}
    special = dict.fromkeys(times, "DateTime64(3, 'UTC')") | {"version": "UInt64", "trades": "Nullable(UInt64)"}
    for field in fields(Candle):
        assert present[field.name] == special.get(field.name, expected(field.metadata["avro"])), field.name


def test_steps_are_numbered_from_one_without_a_hole() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_may_be_run_twice() -> None:
    for step in migrations():
        assert step.statements
        for statement in step.statements:
            assert re.search(r"IF NOT EXISTS|IF EXISTS|OR REPLACE", statement), statement


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a`; DROP", "a.b"])
def test_a_name_that_is_no_database_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="is no database name"):
        quoted(name)
