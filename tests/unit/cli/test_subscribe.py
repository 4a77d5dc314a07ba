"""What `stockstream subscribe` says before it has anything to do with a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["subscribe", *arguments])


@pytest.mark.parametrize(
    "arguments", [[], ["--remove"], [" , "], ["--list", "AAPL"], ["--list", "--remove"], ["--remove", "--list", "AAPL"]]
)
def test_it_is_either_symbols_or_a_list(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("stockstream: name symbols or a --symbols-file, or ask for a --list")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("symbol", "told"),
    [("NOWHERE:BTCUSDT", "no source for NOWHERE:BTCUSDT"), ("two words", "'two words' is no symbol")],
)
def test_what_no_source_can_watch_is_refused_before_anything_is_written(symbol: str, told: str) -> None:
    result = run("AAPL", symbol)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"stockstream: {told}")
    assert result.stderr.count("\n") == 1


def test_a_symbol_whose_ticks_nobody_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKSTREAM_TICK_TOPICS", "crypto-prices")
    result = run("AAPL")
    assert result.exit_code == 2
    assert "whose topic yfinance is not read here: add it to STOCKSTREAM_TICK_TOPICS" in result.stderr


def test_a_missing_file_of_symbols_fails() -> None:
    result = run("--symbols-file", "nowhere.txt")
    assert result.exit_code == 2
    assert "nowhere.txt" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["AAPL,MSFT"], ["--remove", "AAPL"], ["--list"]])
def test_an_absent_broker_is_one_line(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no Kafka broker answers at 127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1
