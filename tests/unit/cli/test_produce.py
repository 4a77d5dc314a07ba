"""What `stockstream produce` says before it has anything to do with a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYMBOLS", raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["produce", *arguments])


def test_without_symbols_one_line_says_what_to_do() -> None:
    result = run("yahoo")
    assert result.exit_code == 2
    assert result.stderr == (
        "stockstream: no symbols to subscribe: set SYMBOLS=AAPL,BTC-USD or give --symbols or --symbols-file\n"
    )


def test_an_empty_list_of_symbols_is_none() -> None:
    assert run("yahoo", "--symbols", " , ").exit_code == 2


def test_symbols_come_from_one_place(tmp_path: Path) -> None:
    result = run("yahoo", "--symbols", "A", "--symbols-file", "f")
    assert result.exit_code == 2
    assert "keep one" in result.stderr


def test_a_missing_file_of_symbols_fails() -> None:
    result = run("yahoo", "--symbols-file", "nowhere.txt")
    assert result.exit_code == 2
    assert "nowhere.txt" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("symbol", "told"),
    [("BINANCE:BTCUSDT", "belongs to binance"), ("NOWHERE:A", "no source for"), ("two words", "no symbol")],
)
def test_a_symbol_must_belong_to_the_source(symbol: str, told: str) -> None:
    result = run("yahoo", "--symbols", f"AAPL,{symbol}")
    assert result.exit_code == 1
    assert told in result.stderr


def test_an_unknown_source_is_bad_usage() -> None:
    result = run("nowhere", "--symbols", "A")
    assert result.exit_code == 2
    assert "yahoo" in result.stderr


def test_a_file_of_symbols_may_hold_remarks_and_an_absent_broker_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("# tech\nAAPL # Apple\n\nMSFT\nAAPL\n")
    result = run("yahoo", "--symbols-file", "symbols.txt")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "no Kafka broker answers at 127.0.0.1:1" in result.stderr
