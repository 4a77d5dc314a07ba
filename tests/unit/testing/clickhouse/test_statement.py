from __future__ import annotations

import pytest

from stockstream.testing.clickhouse.statement import Statement

NATIVE = b"\x03\x0a\x00 FORMAT x;\n"


@pytest.mark.parametrize(
    ("head", "sql"),
    [
        (b"INSERT INTO `d`.`t` (`a`, `b`) FORMAT Native\n", "INSERT INTO `d`.`t` (`a`, `b`) "),
        (b"insert into t format Native\n", "insert into t "),
        (
            b"INSERT INTO t (a)\nSETTINGS async_insert = 0 FORMAT Native\r\n",
            "INSERT INTO t (a)\nSETTINGS async_insert = 0 ",
        ),
    ],
)
def test_the_rows_of_an_insert_follow_its_format(head: bytes, sql: str) -> None:
    assert Statement.read(head + NATIVE, {}) == Statement(sql, "Native", NATIVE)


def test_an_insert_may_stand_in_the_url_and_its_rows_in_the_body() -> None:
    read = Statement.read(NATIVE, {"query": "INSERT INTO t FORMAT Native"})
    assert (read.sql, read.format, read.data) == ("INSERT INTO t ", "Native", NATIVE)


@pytest.mark.parametrize("sql", ["INSERT INTO t VALUES (1, 'x FORMAT y z')", "INSERT INTO t SELECT 1"])
def test_an_insert_without_rows_is_executed_as_it_stands(sql: str) -> None:
    assert Statement.read(sql.encode(), {}) == Statement(sql, "TabSeparated")


def test_a_query_chooses_its_format_before_the_request_does() -> None:
    assert Statement.read(b"SELECT 1 FORMAT Native;\n", {"default_format": "CSV"}) == Statement("SELECT 1", "Native")
    assert Statement.read(b"SELECT 1", {"default_format": "CSV"}) == Statement("SELECT 1", "CSV")


def test_parameters_are_settings_unless_they_bind_or_steer_the_transport() -> None:
    read = Statement.read(
        b"SELECT {x:String}", {"param_x": "v", "max_threads": "1", "database": "d", "session_id": "s", "query_id": "q"}
    )
    assert (read.database, read.settings, read.binds) == ("d", {"max_threads": "1"}, {"x": "v"})
