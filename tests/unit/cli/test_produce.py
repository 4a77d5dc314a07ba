"""What `stockstream produce` says before it has anything to do with a server."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main
from stockstream.sources.ssi.fake import FakeSsi


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
        "stockstream: no symbols of yahoo to subscribe: set SYMBOLS=AAPL,BTC-USD or give --symbols or --symbols-file\n"
    )


def test_of_the_settings_symbols_each_source_takes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "AAPL,SIM:A")
    for source in ("yahoo", "sim"):
        assert "no Kafka broker answers" in run(source).stderr
    result = run("binance")
    assert result.exit_code == 2
    assert "no symbols of binance to subscribe: set SYMBOLS=BINANCE:…" in result.stderr


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


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["sim", "--symbols", "SIM:A", "--ticks-per-s", "0"], 2, "ticks_per_s is '0.0': must be greater than or equal"),
        (
            ["sim", "--symbols", "SIM:A", "--url", "sim:?sed=1"],
            2,
            "sed is no option of it: there are seed, ticks_per_s",
        ),
        (["sim", "--symbols", "SIM:A", "--url", "sim:", "--seed", "1"], 2, "and in place of --url"),
        (["yahoo", "--symbols", "A", "--seed", "1"], 2, "--seed and --ticks-per-s are of sim"),
        (["sim", "--symbols", "AAPL"], 1, "AAPL belongs to yahoo, not to sim"),
        (["sim", "--symbols", "SIM:A", "--seed", "1", "--ticks-per-s", "2"], 1, "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_a_simulated_market_is_told_apart_and_checked(arguments: list[str], code: int, told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "symbol", "variable"),
    [("finnhub", "FINNHUB:AAPL", "FINNHUB_API_TOKEN"), ("ssi", "SSI:VCB", "SSI_CONSUMER_SECRET")],
)
def test_without_a_key_one_line_says_where_to_get_and_to_put_it(
    source: str, symbol: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    result = run(source, "--symbols", symbol)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "https://" in result.stderr
    assert f"{variable}_FILE" in result.stderr


@pytest.mark.parametrize(
    ("source", "symbol", "variables"),
    [
        ("finnhub", "FINNHUB:AAPL", ["FINNHUB_API_TOKEN"]),
        ("ssi", "SSI:VCB", ["SSI_CONSUMER_ID", "SSI_CONSUMER_SECRET"]),
    ],
)
@pytest.mark.parametrize("key", ['"gl4ss-k3y"', "gl4ss k3y", "<gl4ss-k3y>", "gl4ss-k3ÿ", "gl4ss\nk3y"])
def test_what_can_be_no_key_is_named_before_any_server_and_not_shown(
    source: str, symbol: str, variables: list[str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in variables:
        for each in variables:
            monkeypatch.setenv(each, key if each == variable else "f1ne-k3y")
        result = run(source, "--symbols", symbol)
        assert result.exit_code == 2
        assert f"{variable} holds no key" in result.stderr
        assert result.stderr.count("\n") == 1
        assert "gl4ss" not in result.output


def test_blanks_around_a_key_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_TOKEN", " gl4ss-k3y\n")
    assert "no Kafka broker answers" in run("finnhub", "--symbols", "FINNHUB:AAPL").stderr


async def test_a_key_that_ssi_refuses_is_named_before_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeSsi(["VCB"], lambda: time.time_ns() // 1_000_000) as venue:
        monkeypatch.setenv("STOCKSTREAM_SSI_URL", venue.url)
        monkeypatch.setenv("STOCKSTREAM_SSI_API_URL", venue.url)
        monkeypatch.setenv("SSI_CONSUMER_ID", venue.consumer[0])
        for secret, code, said in (
            (
                "gl4ss-k3y",
                2,
                "stockstream: SSI refuses the consumer id and secret (Wrong consumerID or consumerSecret)",
            ),
            (venue.consumer[1], 1, "stockstream: no Kafka broker answers"),
        ):
            monkeypatch.setenv("SSI_CONSUMER_SECRET", secret)
            assert await produce_ssi() == (code, said)
        venue.refuse(503)  # that it is away is no reason to keep silent about Kafka
        assert await produce_ssi() == (1, "stockstream: no Kafka broker answers")
        assert venue.accepted == 0


async def produce_ssi() -> tuple[int | None, str]:
    """Exit code and what of the one line is said before what to do; signals need a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stockstream", "produce", "ssi", "--symbols", "SSI:VCB"), stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    (line,) = told.decode().splitlines()
    return process.returncode, line.partition(" at 127")[0].partition(": see")[0]


def test_more_symbols_than_a_key_takes_are_refused_unless_the_plan_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_TOKEN", "gl4ss-k3y")
    symbols = ",".join(f"FINNHUB:A{n}" for n in range(51))
    result = run("finnhub", "--symbols", symbols)
    assert result.exit_code == 1
    assert "finnhub takes 50 symbols, not 51" in result.stderr
    assert "STOCKSTREAM_FINNHUB_SYMBOLS" in result.stderr
    monkeypatch.setenv("STOCKSTREAM_FINNHUB_SYMBOLS", "51")
    assert "no Kafka broker answers" in run("finnhub", "--symbols", symbols).stderr


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    result = run("finnhub", "--symbols", "FINNHUB:AAPL", "--url", "wss://ws.finnhub.io?token=gl4ss-k3y")
    assert result.exit_code == 2
    assert "FINNHUB_API_TOKEN" in result.stderr
    assert "gl4ss-k3y" not in result.output
