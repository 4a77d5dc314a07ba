from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from stockstream.cli.main import main
from stockstream.testing.process import free_ports


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--live", "--replay", "sample"], "--live and --replay are both given"),
        (["--symbols", "AAPL"], "--symbols needs --live"),
        (["--exit-when-done"], "--exit-when-done needs --replay"),
        (["--exit-when-done", "--live"], "--exit-when-done needs --replay"),
        (["--symbol", "AAPL"], "--symbol, --columns, --time-unit and --speed need --replay"),
        (["--speed", "60"], "--symbol, --columns, --time-unit and --speed need --replay"),
        (["--live", "--symbols", ","], "',' names none"),
        (["--speed", "0"], "neither a number above 0 nor max"),
        (["--port", "0"], "0 is not in the range"),
        (["--live", "--symbols", "A B"], "A B"),
    ],
)
def test_bad_usage_is_told_before_anything_starts(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def demo(*arguments: str) -> str:
    """What is said by a run that ends before it has begun."""
    result = CliRunner().invoke(main, ["demo", "--port", str(free_ports(1)[0]), *arguments])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_file_that_is_missing_or_has_no_header_is_told_first(tmp_path: Path) -> None:
    assert "missing.csv cannot be read" in demo("--replay", str(tmp_path / "missing.csv"))
    (tmp_path / "empty.csv").write_text("")
    assert "the file is empty" in demo("--replay", str(tmp_path / "empty.csv"))


def test_a_folder_is_refused_whose_name_clickhouse_would_not_keep(tmp_path: Path) -> None:
    for name in ("what?", "c#"):
        assert f"{tmp_path / name} has a ? or # in it" in demo("--data", str(tmp_path / name))
        assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_a_demonstration_s_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("5 km")
    assert f"{tmp_path / 'runs'} is not what a demonstration has left" in demo("--data", str(tmp_path))
    assert (tmp_path / "runs").read_text() == "5 km"


def test_a_folder_serves_as_many_runs_as_there_are_epochs(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("128")
    assert f"{tmp_path} has served 128 runs" in demo("--data", str(tmp_path))
    assert (tmp_path / "runs").read_text() == "128"
