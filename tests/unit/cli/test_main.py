from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from stockstream.cli import main as edge
from stockstream.cli.question import Question
from stockstream.errors import AnsweredNo, SettingsError, StockstreamError, Unreachable


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("STOCKSTREAM_"):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(edge.main, arguments)


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> type[StockstreamError]:
    """Makes `stockstream settings` raise what its argument names."""

    @click.command()
    @click.argument("what")
    def command(what: str) -> None:
        raise {
            "known": StockstreamError("two\nlines"),
            "settings": SettingsError("odd"),
            "unknown": KeyError("bug"),
            "interrupt": KeyboardInterrupt(),
        }[what]

    monkeypatch.setattr("stockstream.cli.settings.command", command)
    return StockstreamError


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("known", 1, "stockstream: two lines\n"),
        ("settings", 2, "stockstream: odd\n"),
        ("unknown", 1, "stockstream: unexpected KeyError: 'bug' (stockstream --debug shows where)\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(what: str, code: int, said: str) -> None:
    result = run("settings", what)
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(AnsweredNo("odd"), 1), (Unreachable("odd"), 2), (SettingsError("odd"), 2), (KeyError("bug"), 2), (None, 0)],
)
@pytest.mark.parametrize("within", [[], ["group"]])
def test_a_question_ends_with_1_only_if_the_answer_is_no(
    error: Exception | None, code: int, within: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command(cls=Question)
    def asking() -> None:
        if error is not None:
            raise error

    group = click.Group("settings", {"group": asking})
    monkeypatch.setattr("stockstream.cli.settings.command", group if within else asking)
    result = run("settings", *within)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", int(error is not None))
    assert run("--debug", "settings", *within).exit_code == code


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize(("what", "code"), [("known", 1), ("settings", 2), ("unknown", 1)])
def test_debug_shows_where_it_comes_from(what: str, code: int) -> None:
    result = run("--debug", "settings", what)
    assert result.exit_code == code
    assert "Traceback" in result.stderr


@pytest.mark.usefixtures("raising")
def test_ctrl_c_ends_with_130() -> None:
    result = run("settings", "interrupt")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [["candels"], ["--loud"], ["candles"], ["candles", "x", "--interval", "2m"], ["schema", "delete"],
     ["candles", "x", "--interval", "1m", "--columns", "cost=px"],
     ["candles", "x", "--interval", "1m", "--columns", "price="],
     ["replay", "x", "--speed", "0"], ["replay", "x", "--speed", "fast"], ["replay", "x", "--symbol", "VN 30"]],
)  # fmt: skip
def test_bad_usage_is_one_line_and_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("stockstream: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("name", edge.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_no_command_waits_for_what_it_does_not_use_to_be_imported() -> None:
    imports = "; ".join(f"import {edge.module_of(name)}" for name in edge.COMMANDS)
    unused = "{'faust', 'pandas'} & sys.modules.keys()"  # pandas comes with all of yfinance
    result = subprocess.run([sys.executable, "-c", f"import sys; {imports}; sys.exit(bool({unused}))"], check=False)
    assert result.returncode == 0


def test_a_missing_file_fails() -> None:
    result = run("candles", "nowhere.csv", "--interval", "1m")
    assert (result.exit_code, result.stderr) == (
        1,
        "stockstream: nowhere.csv cannot be read: No such file or directory\n",
    )


def test_bad_settings_are_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKSTREAM_PARTITION", "3")
    result = run("settings")
    assert result.exit_code == 2
    assert "STOCKSTREAM_PARTITIONS" in result.stderr


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stockstream", *arguments]


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    trades = tmp_path / "trades.csv"
    lines = (f"{1_700_000_000_000 + 60_000 * n},{n},buy,1.5,1\n" for n in range(1, 20_000))
    trades.write_text("event_ms,trade_id,side,price,size\n" + "".join(lines))
    with subprocess.Popen(
        command("candles", str(trades), "--interval", "1m"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"start_ms")
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_on_a_waiting_command_is_quiet(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(command("candles", str(pipe), "--interval", "1m"), stderr=subprocess.PIPE) as process:
        with pipe.open("w"):  # opens when the command has opened its end
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert process.stderr.read().strip() == b""
        assert process.wait() == 130
