"""Values reach ClickHouse as bound parameters alone: no text of a user's, a venue's or a record's becomes SQL.

Ruff's S608 finds formatted SQL as well, but is silenced line by line where only constants are put in; this says which.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import stockstream
from stockstream.cli.main import main
from stockstream.errors import SettingsError
from stockstream.models import Candle, Tick
from stockstream.settings import Settings
from stockstream.sinks.archive import TickArchive
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.migrations import quoted

PACKAGE = Path(stockstream.__file__).parent
SQL = re.compile(
    r"\b(SELECT|INSERT INTO|(ALTER|CREATE|DROP|OPTIMIZE|TRUNCATE) (TABLE|DATABASE|VIEW)|DELETE FROM|FROM [\w{]|WHERE|"
    r"ORDER BY|GROUP BY|LIMIT \{|MODIFY TTL|toIntervalDay|fromUnixTimestamp)"
    r"|\bt\.`?\w+`? (=|IN|<|>)|\bc\.\w+ (=|IN|<|>)|^c\.|toUnixTimestamp"
)

# What may stand in SQL, and why.
CONSTANTS = {
    "sinks/archive.py": {"_COLUMNS", "_IS_SPAN", "self._chosen", "self._within", "tuple(sorted(SPANS))"},
    "sinks/clickhouse.py": {
        "', '.join(columns)",  # of the fields of Candle
        "n",
        "self._name",  # quoted() has checked it
        "' AND '.join(conditions)",
        "sign",
        "name",  # of a parameter
    },
    "sinks/migrations.py": {"name", "table", "int(days)"},
}
REPLACEMENTS = {"sinks/clickhouse.py": {"self._name"}, "sinks/migrations.py": {"name"}}

HOSTILE = [
    "'; DROP TABLE ticks; --",
    "x' OR '1'='1",
    "x\\' OR 1=1 --",
    "x` OR 1=1 --",
    "{symbol:String}",
    "%(symbol)s",
    "a\tb\nc",
    "x\x00y",
]


def formatted(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and expression of everything that is put into a text that is SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if SQL.search(text):
                yield from (
                    (part.lineno, ast.unparse(part.value))
                    for part in node.values
                    if isinstance(part, ast.FormattedValue)
                )
        elif _is_sql(_template(node)):
            yield node.lineno, ast.unparse(node)


def _template(node: ast.AST) -> object:
    """What ``%`` or ``format`` fills in."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return node.left
    return node.value if isinstance(node, ast.Attribute) and node.attr == "format" else None


def _is_sql(node: object) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL.search(node.value))


def test_only_constants_and_checked_names_are_put_into_sql() -> None:
    seen: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("testing/"):
            continue
        for line, expression in formatted(ast.parse(path.read_text())):
            assert expression in CONSTANTS.get(name, ()), (
                f"{name}:{line} puts {expression} into SQL: bind it as a parameter, {{name:Type}}"
            )
            seen.setdefault(name, set()).add(expression)
    assert seen == CONSTANTS, "nothing stands here that is not needed any more"


def test_only_the_databases_name_is_replaced_in_sql() -> None:
    seen: dict[str, set[str]] = {}
    for path in (PACKAGE / "sinks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "replace"
                and isinstance(node.args[0], ast.Constant)
                and str(node.args[0].value).startswith("{")
            ):
                seen.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add(ast.unparse(node.args[1]))
    assert seen == REPLACEMENTS


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT 1 FROM t WHERE x = {symbol}"',
        "f\" AND t.symbol = '{symbol}'\"",
        '"SELECT 1 FROM t WHERE x = %s" % symbol',
        '"SELECT 1 FROM t WHERE x = {}".format(symbol)',
        'f"ALTER TABLE {table} DELETE WHERE x = {symbol}"',
    ],
)
def test_the_check_would_find_it(source: str) -> None:
    assert list(formatted(ast.parse(source)))


def test_the_static_scan_is_on_for_the_package() -> None:
    lint = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if rule.startswith("S")]
    ours = {where: rules for where, rules in lint["per-file-ignores"].items() if where.startswith("stockstream/")}
    assert ours == {"stockstream/testing/**": ["S603"]}
    for path in PACKAGE.rglob("*.py"):
        for line in re.findall(r"# noqa: S\d+.*", path.read_text()):
            assert re.fullmatch(r"# noqa: S\d+ - \w.+", line), f"{path}: {line} says no reason"


class Recorder:
    """A client that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def query(self, sql: str, parameters: dict[str, Any]) -> Any:
        self.asked.append((sql, parameters))
        partitions = [("topic' --", 0, 0, 1, 0, 5)] if "min(t.`offset`)" in sql else []
        return SimpleNamespace(result_rows=partitions)

    def close(self) -> None: ...


async def asked(value: str) -> list[tuple[str, dict[str, Any]]]:
    """What is asked of ClickHouse when ``value`` is given wherever a text can be."""
    recorder = Recorder()
    sink = ClickHouseSink("http://127.0.0.1:1")
    sink._reader = recorder  # type: ignore[assignment]
    await sink.candles(value, value, 1, 2, 3, session=value)
    archive = TickArchive(sink, from_ms=1, until_ms=2, topics=[value], symbols=[value], source=value)
    async with archive:
        await archive.before()
        assert [tick async for tick in archive] == []
    return recorder.asked


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_sql_is_the_same_whatever_the_values(hostile: str) -> None:
    benign, attacked = await asked("AAPL"), await asked(hostile)
    assert len(attacked) == 5
    assert [sql for sql, _ in attacked] == [sql for sql, _ in benign]
    bound = [parameter for _, parameters in attacked for parameter in parameters.values()]
    assert hostile in bound
    assert [hostile] in bound


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "{}", "2026-11-20T14:03:00Z"],
        ["compare", "{}", "--from", "2026-11-20", "--to", "2026-11-21"],
        ["replay", "--from", "2026-11-20", "--to", "2026-11-21", "--symbols", "{}"],
        ["subscribe", "{}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_take_no_such_symbol(
    hostile: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", _refuse)
    result = CliRunner().invoke(main, [hostile if each == "{}" else each for each in arguments])
    assert result.exit_code in (1, 2)
    assert "symbol" in result.stderr or "source" in result.stderr
    assert result.stderr.count("\n") == 1


def _refuse(*_: object) -> None:
    raise AssertionError("nothing is to be asked")


@pytest.mark.parametrize("hostile", [*HOSTILE, "", "a-b", "a.b", "1a"])
def test_a_database_is_a_plain_name(hostile: str) -> None:
    with pytest.raises(SettingsError, match="no database name"):
        quoted(hostile)
    if hostile:
        with pytest.raises(SettingsError):
            Settings.load({"STOCKSTREAM_CLICKHOUSE_DATABASE": hostile}, Path("/nonexistent"))


@pytest.mark.parametrize("record", [Tick, Candle])
def test_columns_are_plain_names(record: type[Tick | Candle]) -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", each.name) for each in fields(record))
