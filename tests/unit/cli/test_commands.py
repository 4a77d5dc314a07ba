"""The commands that talk to servers, where there are none."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main
from stockstream.settings import Settings

TRADES = "event_ms,trade_id,side,price,size\n1700000000000,1,buy,1,1\n"


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("STOCKSTREAM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{closed_port}")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://me:hush@127.0.0.1:{closed_port}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_settings_shows_every_setting_and_no_secret(closed_port: int) -> None:
    result = run("settings")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == len(Settings.model_fields)
    assert "hush" not in result.stdout
    assert f"http://me:***@127.0.0.1:{closed_port}" in result.stdout


def test_settings_as_json_tells_value_and_source() -> None:
    shown = json.loads(run("settings", "--json").stdout)
    assert shown["partitions"] == {"value": 12, "source": "default", "variable": "STOCKSTREAM_PARTITIONS"}
    assert shown["clickhouse_url"]["source"] == "CLICKHOUSE_URL in the environment"


@pytest.mark.timeout(10)
def test_doctor_says_what_is_wrong_with_each() -> None:
    result = run("doctor")
    assert result.exit_code == 1
    states = {line[:16].strip(): line[17:22].strip() for line in result.stdout.splitlines()}
    assert states == {"Kafka": "WRONG", "schema registry": "WRONG", "ClickHouse": "WRONG", "data directory": "ok"}
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "CLICKHOUSE_URL"):
        assert name in result.stdout
    assert "hush" not in result.output
    assert result.stderr == "stockstream: 3 of 4 checks failed\n"


@pytest.mark.timeout(10)
def test_doctor_gives_up_on_servers_that_never_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        port = silent.getsockname()[1]
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{port}")
        result = run("doctor")
    assert result.exit_code == 1
    assert result.stdout.count("WRONG") == 3


def findings() -> dict[str, str]:
    """What doctor prints, by the name of the check."""
    return {re.split(r" {2,}", line)[0]: line for line in run("doctor").stdout.splitlines()}


def test_doctor_says_where_to_get_a_key_that_a_symbol_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "AAPL,FINNHUB:AAPL,SSI:VCB,NOWHERE:X")
    monkeypatch.delenv("FINNHUB_API_TOKEN", raising=False)
    monkeypatch.delenv("SSI_CONSUMER_ID", raising=False)
    lines = findings()
    assert "  ok  " in lines["source yahoo"]
    assert "WRONG" in lines["source finnhub"]
    assert "FINNHUB_API_TOKEN" in lines["source finnhub"]
    assert "WRONG" in lines["source ssi"]
    assert "SSI_CONSUMER_SECRET" in lines["source ssi"]
    monkeypatch.setenv("FINNHUB_API_TOKEN", "gl4ss-k3y")
    result = run("doctor")
    assert "gl4ss-k3y" not in result.output
    assert any(line.startswith("source finnhub") and "  ok  " in line for line in result.stdout.splitlines())


def test_doctor_finds_symbols_that_nothing_can_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "NASDAQ:AAPL,SIM:A")
    lines = findings()
    assert "WRONG  no source for NASDAQ:AAPL" in lines["symbols"]
    assert "WRONG  its topic sim is not read: add it to STOCKSTREAM_TICK_TOPICS" in lines["source sim"]
    monkeypatch.setenv("STOCKSTREAM_TICK_TOPICS", "sim")
    monkeypatch.setenv("STOCKSTREAM_SIM_URL", "sim:?seed=x")
    assert "WRONG" in findings()["source sim"]


def test_keys_are_shown_by_no_command(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("SYMBOLS", "FINNHUB:AAPL,SSI:VCB")
    monkeypatch.setenv("STOCKSTREAM_SSI_API_URL", f"http://127.0.0.1:{closed_port}")
    for name in ("FINNHUB_API_TOKEN", "SSI_CONSUMER_ID", "SSI_CONSUMER_SECRET"):
        monkeypatch.setenv(name, "gl4ss-k3y")
    for arguments in (["settings"], ["settings", "--json"], ["--debug", "doctor"], ["--debug", "produce", "finnhub"]):
        result = run(*arguments)
        assert "gl4ss-k3y" not in result.output + repr(result.exception), arguments


def test_doctor_finds_a_data_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STOCKSTREAM_DATA_DIR", str(tmp_path / "file" / "data"))
    assert "file/data is not usable" in run("doctor").stdout


def test_doctor_does_not_ask_for_a_clickhouse_that_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOCKSTREAM_SINK_ENABLED", "false")
    assert "sink_enabled is false" in run("doctor").stdout
    monkeypatch.setenv("STOCKSTREAM_SINK_ENABLED", "true")
    monkeypatch.setenv("CLICKHOUSE_URL", f"chdb://{tmp_path}/chdb")
    assert "embedded" in run("doctor").stdout


@pytest.mark.parametrize("action", [[], ["check"], ["register"]])
def test_schema_without_a_registry_is_one_line(action: list[str]) -> None:
    result = run("schema", *action)
    assert result.exit_code == 2  # not 1: nothing was refused
    assert "SCHEMA_REGISTRY_URL" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.timeout(10)
def test_replay_without_a_broker_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "trades.csv").write_text(TRADES)
    arguments = [sys.executable, "-m", "stockstream", "replay", "trades.csv"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stderr
    assert result.stderr.count("\n") == 1


def test_replay_reads_the_files_header_before_it_asks_for_a_broker(tmp_path: Path) -> None:
    (tmp_path / "trades.csv").write_text("price\n1\n")
    assert run("replay", "trades.csv").stderr.startswith("stockstream: trades.csv, line 1: column event_ms is missing")


def test_replay_of_the_archive_takes_no_options_of_files() -> None:
    result = run("replay", "--from", "2025-11-17", "--to", "2025-11-18", "--time-unit", "s")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--time-unit are of files" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("AAPL", "--from", "2025-11-17"), "AAPL belongs to yahoo, which has no candles of its own"),
        (("SIM:A", "--from", "2025-11-17"), "these do: binance"),
        (("NOWHERE:A", "--from", "2025-11-17"), "no source for NOWHERE:A"),
        (("two words", "--from", "2025-11-17"), "two words"),
        (("BINANCE:BTCUSDT",), "--from"),
        (("BINANCE:BTCUSDT", "--from", "yesterday"), "is no time"),
        (("BINANCE:BTCUSDT", "--from", "1763337600"), "looks like seconds"),
        (("BINANCE:BTCUSDT", "--from", "2025-11-17", "--interval", "1h"), "1h"),
        (("BINANCE:BTCUSDT", "--from", "2025-11-17", "--to", "2025-11-17"), "no 1m window"),
        (("BINANCE:BTCUSDT", "--from", "2999-11-17"), "no 1m window"),
    ],
)
def test_compare_says_what_it_cannot_compare(arguments: tuple[str, ...], said: str) -> None:
    result = run("compare", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("AAPL",), "START"),
        (("AAPL", "yesterday"), "is no time"),
        (("two words", "2025-11-17"), "two words"),
        (("NOWHERE:A", "2025-11-17"), "--topic says where its ticks are"),
        (("SIM:A", "2025-11-17"), "whose topic sim is not read here"),
        (("AAPL", "2025-11-17", "--interval", "1h"), "1h"),
        (("AAPL", "2025-11-17", "--from", "then"), "is no time"),
    ],
)
def test_explain_says_what_it_cannot_explain(arguments: tuple[str, ...], said: str) -> None:
    result = run("explain", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.timeout(30)
def test_explain_without_a_broker_is_one_line() -> None:
    result = run("explain", "AAPL", "2025-11-17")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.timeout(10)
def test_compare_says_that_clickhouse_is_away() -> None:
    result = run("compare", "BINANCE:BTCUSDT", "--from", "2025-11-17", "--to", "2025-11-18")
    assert (result.exit_code, result.stdout) == (2, "")  # not 1: nothing differs
    assert "ClickHouse at http://127.0.0.1:" in result.stderr
    assert "set CLICKHOUSE_URL" in result.stderr
    assert "hush" not in result.output
    assert result.stderr.count("\n") == 1
