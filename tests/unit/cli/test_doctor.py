"""What doctor says of what it is told; fakes tell it what no test can cause."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from stockstream.broker.clock import Reading
from stockstream.broker.spans import Span
from stockstream.cli.doctor import kafka, machine, stores
from stockstream.cli.doctor.finding import spelled, told_of_clock
from stockstream.errors import StockstreamError, TopicMismatch
from stockstream.settings import Settings
from stockstream.tables import Tables, changelogs_of
from stockstream.web.keys import make_key

SETTINGS = Settings(tick_topics=("ticks",), partitions=4, sink_enabled=False)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TICKS = TopicPartition("ticks", 1)


async def wrong(check: Awaitable[str]) -> str:
    """What is wrong, in one line."""
    with pytest.raises(StockstreamError) as caught:
        await check
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tell(monkeypatch: pytest.MonkeyPatch, where: Any, **answers: Any) -> None:
    """Have the functions of these names give these answers."""
    for name, answer in answers.items():

        async def asked(*_: Any, answer: Any = answer, **__: Any) -> Any:
            return answer

        monkeypatch.setattr(where, name, asked)


@pytest.mark.parametrize(("ahead_ms", "error_ms"), [(0, 0), (1900, 0), (-1900, 0), (5000, 3001)])
def test_a_clock_that_may_agree_is_well(ahead_ms: float, error_ms: float) -> None:
    assert "from this clock, give or take" in told_of_clock(SETTINGS, "it", Reading(ahead_ms, error_ms))


@pytest.mark.parametrize(("ahead_ms", "told"), [(7300, "7.3 s behind that"), (-7300, "7.3 s ahead of that")])
def test_a_clock_that_surely_differs_is_told_with_what_hangs_on_it(ahead_ms: float, told: str) -> None:
    with pytest.raises(StockstreamError, match=told) as caught:
        told_of_clock(SETTINGS, "it", Reading(ahead_ms, 5000))
    assert all(part in str(caught.value) for part in ("NTP", "60 s", "900 s", "STOCKSTREAM_FUTURE_TOLERANCE_S"))


def test_the_middle_of_the_way_is_when_a_clock_was_read() -> None:
    assert Reading.taken(1500, 1_000_000_000, 1_200_000_000) == Reading(400.0, 100.0)


async def test_the_brokers_clock_is_told_or_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = kafka.connection_of(SETTINGS)
    tell(monkeypatch, kafka, clock_of=Reading(10_000, 5))
    assert "10.0 s behind that of Kafka's controller" in await wrong(kafka._clock(SETTINGS, connection))
    tell(monkeypatch, kafka, clock_of=None)
    assert (await kafka._clock(SETTINGS, connection)).startswith("not told")


async def test_clickhouses_clock_is_compared_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(clickhouse_url="http://nowhere:1")
    tell(monkeypatch, stores, _ask=("25.8", int(time.time() * 1000) - 60_000))
    reached, clock = await stores.examine_clickhouse(settings)
    assert reached.is_good
    assert not clock.is_good
    assert "ahead of that of ClickHouse" in clock.told
    tell(monkeypatch, stores, _ask=("25.8", int(time.time() * 1000)))
    assert [finding.is_good for finding in await stores.examine_clickhouse(settings)] == [True, True]


def test_changelogs_are_named_without_an_app(tables: Tables) -> None:
    assert changelogs_of("unit") == tables.changelogs


async def test_partitions_are_those_of_the_settings_and_of_the_changelogs() -> None:
    changelogs = dict.fromkeys(changelogs_of("stockstream"), 4)
    assert await kafka._partitions(SETTINGS, {"ticks": 4}) == "4 everywhere; no candles were made"
    assert await kafka._partitions(SETTINGS, {"ticks": 4, **changelogs}) == "4 everywhere, as candles were made with"
    with pytest.raises(TopicMismatch, match="ticks has 8 partitions instead of 4"):
        await kafka._partitions(SETTINGS, {"ticks": 8})
    with pytest.raises(TopicMismatch, match="ticks has 8 partitions, but candles were made with 4"):
        await kafka._partitions(SETTINGS, {"ticks": 8, **changelogs})
    odd = changelogs | {"stockstream-candles_1d-changelog": 6}
    told = await wrong(kafka._partitions(SETTINGS, {"ticks": 4, **odd}))
    assert "stockstream-candles_1d-changelog 6" in told
    assert "STOCKSTREAM_APP_ID" in told


def configs(**ticks: str) -> dict[str, dict[str, str]]:
    named = {name.replace("_", "."): value for name, value in ticks.items()}
    return {
        "ticks": {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), "retention.bytes": "-1"} | named,
        "stockstream-latest-changelog": {"cleanup.policy": "compact"},
    }


async def retention(monkeypatch: pytest.MonkeyPatch, found: dict[str, dict[str, str]]) -> str:
    tell(monkeypatch, kafka, configs_of=found)
    return await kafka._retention(SETTINGS, kafka.connection_of(SETTINGS), dict.fromkeys(found, 4))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (configs(), "workers may be away for 7 days before ticks of ticks are lost unread"),
        (configs(retention_ms="-1"), "ticks are kept for ever"),
        (configs(retention_ms=str(2 * DAY_MS)), "2 days"),
        (configs(retention_bytes="1000000"), "ticks keeps 1,000,000 bytes a partition, which may be less"),
        ({"ticks": {}}, "the brokers do not say"),
        ({}, "no tick topic yet"),
    ],
)
async def test_how_long_workers_may_be_away_is_told(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, dict[str, str]], told: str
) -> None:
    found_told = await retention(monkeypatch, found)
    assert told in found_told
    assert "[" not in found_told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            configs(retention_ms=str(6 * HOUR_MS)),
            "deletes ticks after 6 hours, read or not, and rows are kept for 2 days",
        ),
        (configs(retention_ms=str(6 * HOUR_MS)), "--entity-name ticks --add-config retention.ms=604800000"),
        (configs(cleanup_policy="compact,delete"), "ticks is compacted"),
        (
            configs() | {"stockstream-latest-changelog": {"cleanup.policy": "compact,delete"}},
            "stockstream-latest-changelog deletes rows by their age",
        ),
    ],
)
async def test_topics_that_let_go_too_soon_are_told(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, dict[str, str]], told: str
) -> None:
    assert told in await wrong(retention(monkeypatch, found))


async def unread(
    monkeypatch: pytest.MonkeyPatch, committed: int | None, span: Span, kept: str = str(7 * DAY_MS)
) -> str:
    found = {} if committed is None else {TICKS: committed, TopicPartition("other", 0): 0}
    tell(monkeypatch, kafka, committed_by=found, spans_of={TICKS: span}, configs_of={"ticks": {"retention.ms": kept}})
    return await kafka._unread(SETTINGS, kafka.connection_of(SETTINGS), {"ticks": 4})


async def test_what_is_unread_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await unread(monkeypatch, None, Span(0, 0, 9)) == "stockstream has read nothing yet"
    assert await unread(monkeypatch, 7, Span(0, 5, 9)) == "2 of stockstream"
    assert await unread(monkeypatch, 3, Span(0, 5, 9), kept="-1") == "6 of stockstream"


async def test_ticks_that_are_about_to_be_deleted_unread_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = await wrong(unread(monkeypatch, 4, Span(0, 5, 9)))
    assert "left unread for 3.5 days and more what ticks deletes after 7 days: start workers" in told


async def test_ticks_that_were_deleted_unread_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3 records were deleted before stockstream read them" in await wrong(unread(monkeypatch, 4, Span(7, 8, 9)))


async def test_the_sink_reads_candles_and_if_it_is_to_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tick_topics=("ticks",), tick_archive=False)
    places = {TICKS: 1, TopicPartition("candles", 0): 2}
    spans = {place: Span(0, 0, 10) for place in places}

    async def spans_of(_: Any, since_ms: dict[TopicPartition, int]) -> dict[TopicPartition, Span]:
        return {place: spans[place] for place in since_ms}

    tell(monkeypatch, kafka, committed_by=places, configs_of={})
    monkeypatch.setattr(kafka, "spans_of", spans_of)
    told = await kafka._unread(settings, kafka.connection_of(settings), {"ticks": 4, "candles": 4})
    assert told == "9 of stockstream, 8 of stockstream-sink"


async def test_a_folder_with_little_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "GB free" in await machine.room_in(tmp_path / "new" / "data", "STOCKSTREAM_DATA_DIR")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 10**8))  # type: ignore[attr-defined]
    told = await wrong(machine.room_in(tmp_path, "CLICKHOUSE_URL"))
    assert "0.1 GB left: free some, or set CLICKHOUSE_URL" in told


@pytest.mark.parametrize("where", ["", "tables", "tables/000012.sst"])
async def test_what_another_user_has_left_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "000012.sst").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / where)
    told = await wrong(machine.room_in(tmp_path, "STOCKSTREAM_DATA_DIR"))
    assert f"{tmp_path / where} cannot be written by this user" in told


def keys_file(folder: Path, *lines: str, mode: int = 0o640) -> Path:
    file = folder / "api-keys"
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(mode)
    return file


def key(name: str, scope: str = "read", ends_in_ms: int | None = None) -> str:
    expires_ms = None if ends_in_ms is None else int(time.time() * 1000) + ends_in_ms
    return make_key(name, [scope], expires_ms)[1].line


async def check_keys(**settings: Any) -> str:
    return await machine.check_keys(Settings(**settings))


async def test_keys_that_are_in_force_are_counted(tmp_path: Path) -> None:
    file = keys_file(tmp_path, key("a"), key("b", ends_in_ms=-1), key("c", ends_in_ms=DAY_MS))
    told = await check_keys(api_keys_file=file)
    assert f"{file}, 2 of 3 in force; c ends 20" in told
    assert await check_keys(api_key="secret") == "STOCKSTREAM_API_KEY"


async def test_keys_that_are_no_use_are_told(tmp_path: Path) -> None:
    assert "cannot be read" in await wrong(check_keys(api_keys_file=tmp_path / "none"))
    assert "line 1" in await wrong(check_keys(api_keys_file=keys_file(tmp_path, "a read secret")))
    file = keys_file(tmp_path, key("a", ends_in_ms=-1))
    assert f"all 1 keys of {file} have expired" in await wrong(check_keys(api_keys_file=file))
    assert await check_keys(api_keys_file=file, api_key="secret") == f"{file}, 0 of 1 in force; STOCKSTREAM_API_KEY"


async def test_keys_that_everybody_may_read_are_told(tmp_path: Path) -> None:
    file = keys_file(tmp_path, key("a"), mode=0o644)
    assert f"everybody on this machine may read {file}: chmod o-r {file}" in await wrong(check_keys(api_keys_file=file))
    file.chmod(0o646)
    assert "everybody may write it" in await wrong(check_keys(api_keys_file=file))


async def test_that_nobody_may_read_is_told(tmp_path: Path) -> None:
    assert "nobody may read over HTTP" in await wrong(check_keys(web_host="ticks.example"))
    file = keys_file(tmp_path, key("a", "subscriptions:write"))
    assert "nobody may read over HTTP" in await wrong(check_keys(web_host="ticks.example", api_keys_file=file))
    assert "1 of 1" in await check_keys(api_keys_file=file)
    assert "1 of 1" in await check_keys(web_host="ticks.example", api_keys_file=keys_file(tmp_path, key("a")))


def test_durations_are_spelled_in_a_fitting_unit() -> None:
    assert [spelled(ms) for ms in (1500, 90_000, 6 * HOUR_MS, 3.5 * DAY_MS)] == ["1.5 s", "90 s", "6 hours", "3.5 days"]
