"""What can be said of the ClickHouse sink without a ClickHouse."""

from __future__ import annotations

import socket
import sys

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError

from stockstream.errors import SettingsError, SinkRefused, SinkUnreachable
from stockstream.sinks.clickhouse import ClickHouseSink


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8123",
        "clickhouse://host",
        "http://",
        "http://host:port",
        "http://host:0",
        "http://host/a/b",
        "http://host/db?x=1",
        "chdb://",
        "chdb:///",
        "chdb://relative/path",
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="the ClickHouse URL must be"):
        ClickHouseSink(url)


def test_a_database_that_is_no_name_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="no database name"):
        ClickHouseSink("http://host/a-b")


@pytest.mark.parametrize("secret", ["s3cret", "s3%20cret%2F"])
async def test_an_absent_server_is_named_without_the_password(secret: str) -> None:
    with socket.socket() as bound:  # bound and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        sink = ClickHouseSink(f"http://me:{secret}@127.0.0.1:{port}/db")
        with pytest.raises(SinkUnreachable) as caught:
            await sink.start()
        await sink.close()
    message = str(caught.value)
    assert message.startswith(f"ClickHouse at http://127.0.0.1:{port} is not usable: ")
    assert "s3" not in message
    assert "\n" not in message


async def test_reading_before_the_start_says_so() -> None:
    sink = ClickHouseSink("http://me@127.0.0.1:1")
    with pytest.raises(SinkUnreachable, match="not connected yet"):
        await sink.candles("A", "1m", None, None, 1)
    with pytest.raises(SinkUnreachable, match="not connected yet"):
        await sink.ping()
    await sink.close()


async def test_the_embedded_engine_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    sink = ClickHouseSink("chdb:///nowhere")
    with pytest.raises(SettingsError, match=r"pip install 'stockstream\[demo\]'"):
        await sink.start()
    await sink.close()


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> ClickHouseSink:
    def get_client(**_options: object) -> None:
        raise error

    monkeypatch.setattr("clickhouse_connect.get_client", get_client)
    return ClickHouseSink("http://host")


@pytest.mark.parametrize("code", [6, 27, 53, 69, 117, 349, 469])
async def test_what_will_never_fit_is_refused(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(SinkRefused, match="refuses the rows: no way"):
        await failing(monkeypatch, DatabaseError("no way", code=code)).start()


# missing table or database, time-out, login, memory, disk, parts, anything new, none at all
@pytest.mark.parametrize("code", [60, 81, 159, 192, 193, 194, 241, 243, 252, 497, 516, 999, None])
async def test_all_else_may_pass(monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    with pytest.raises(SinkUnreachable, match="is not usable: not now"):
        await failing(monkeypatch, DatabaseError("not now\n", code=code)).start()


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (243, "Cannot reserve 1.00 MiB, not enough space", "make room on its disk"),
        (75, "Cannot write to file: errno: 28, strerror: No space left on device", "make room on its disk"),
        (242, "Table is in readonly mode", "takes no writes for now"),
        (164, "Cannot execute query in readonly mode", "let it write"),
        (516, "Authentication failed", "STOCKSTREAM_CLICKHOUSE_PASSWORD"),
    ],
)
async def test_it_says_what_to_do_about_what_does_not_pass_by_itself(
    monkeypatch: pytest.MonkeyPatch, code: int, text: str, advice: str
) -> None:
    with pytest.raises(SinkUnreachable, match=f"{text}; .*{advice}"):
        await failing(monkeypatch, DatabaseError(text, code=code)).start()


async def test_the_drivers_own_errors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for refused in (DataError("x"), TypeError("x"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x")):
        with pytest.raises(SinkRefused):
            await failing(monkeypatch, refused).start()
    for passing in (OperationalError("x"), OSError("no space left"), RuntimeError("x")):
        with pytest.raises(SinkUnreachable):
            await failing(monkeypatch, passing).start()
