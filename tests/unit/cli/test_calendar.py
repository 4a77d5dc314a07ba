"""The command that shows when exchanges trade."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.doctor.venues import known_until
from stockstream.cli.main import main
from stockstream.errors import StockstreamError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("calendar", *arguments))


def rows(*arguments: str) -> list[str]:
    result = run(*arguments)
    assert result.exit_code == 0
    return [" ".join(line.split()) for line in result.stdout.splitlines() if line[:1].isdigit()]


def test_sessions_have_their_bounds_in_utc_and_local_time() -> None:
    assert rows("XNYS", "--from", "2026-11-25", "--to", "2026-11-30") == [
        "2026-11-25 Wed 2026-11-25 14:30 2026-11-25 21:00 09:30-16:00 pre-market 04:00-09:30, post-market 16:00-20:00",
        "2026-11-26 Thu holiday Thanksgiving",
        "2026-11-27 Fri 2026-11-27 14:30 2026-11-27 18:00 09:30-13:00 closes early, "
        "pre-market 04:00-09:30, post-market 13:00-17:00",
        "2026-11-30 Mon 2026-11-30 14:30 2026-11-30 21:00 09:30-16:00 pre-market 04:00-09:30, post-market 16:00-20:00",
    ]


def test_a_session_that_begins_the_day_before_says_so() -> None:
    [row] = rows("CME", "--from", "2026-11-28", "--to", "2026-11-30")
    assert row == "2026-11-30 Mon 2026-11-29 23:00 2026-11-30 23:00 Sun 17:00-17:00 daily pause 16:00-17:00"


def test_estimates_and_usual_hours_are_marked() -> None:
    shown = rows("VSE", "--from", "2027-02-05", "--to", "2027-02-11")
    assert shown[0] == "2027-02-05 Fri holiday Tet (an estimate)"
    assert "usual hours: not known yet, ATO 09:00-09:15, break 11:30-13:00" in shown[-1]
    header = run("VSE").stdout
    assert "HOSE: Ho Chi Minh City Stock Exchange, Asia/Ho_Chi_Minh; holidays are known from 2024-01-01" in header
    assert "source 2026: HNX 5305/TB-SGDHN" in header


def test_as_json_times_are_in_rfc_3339_and_ms() -> None:
    shown = json.loads(run("HOSE", "--json", "--from", "2026-12-31", "--to", "2027-01-01").stdout)
    session, holiday = shown["days"]
    assert (shown["code"], shown["known_until"]) == ("HOSE", "2026-12-31")
    assert (session["open"], session["close_ms"]) == ("2026-12-31T02:00:00.000Z", 1_798_703_100_000)
    assert [part["name"] for part in session["parts"]] == ["ATO", "break", "ATC", "put-through"]
    assert holiday == {"date": "2027-01-01", "is_known": False, "holiday": "New Year's Day", "is_estimate": True}


def test_without_an_exchange_all_are_listed() -> None:
    result = run()
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "2026-12-31" in lines["HOSE"]
    assert "VSE" in lines["HOSE"]
    assert "always" in lines["24/7"]
    listed = json.loads(run("--json").stdout)["calendars"]
    assert {each["code"] for each in listed} == lines.keys() - {"code"}


def test_a_users_folder_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "XNYS.toml").write_text('[holidays]\n2026-12-01 = "closed after a storm"\n')
    monkeypatch.setenv("STOCKSTREAM_CALENDARS", str(folder))
    assert rows("NMS", "--from", "2026-12-01", "--to", "2026-12-01") == ["2026-12-01 Tue holiday closed after a storm"]
    assert f"from {folder / 'XNYS.toml'}" in run("NMS").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["NOWHERE"], "there is no calendar 'NOWHERE': stockstream calendar lists all"),
        (["XNYS", "--from", "2026-12-02", "--to", "2026-12-01"], "--to lies before --from"),
        (["XNYS", "--from", "tomorrow"], "'tomorrow' does not match the format"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_dates_without_a_session_are_told() -> None:
    assert "no sessions and no holidays" in run("XNYS", "--from", "2026-11-28", "--to", "2026-11-29").stdout


async def test_doctor_says_when_holidays_are_no_longer_known() -> None:
    today = datetime.now(UTC).date()
    told = await known_until([(today + timedelta(20), "HOSE"), (today + timedelta(300), "XNYS")])
    assert told == "holidays of HOSE, XNYS are known; HOSE ends first, in 20 days"
    for days, word in ((13, "ends"), (-1, "ended")):
        with pytest.raises(StockstreamError, match=f"HOSE {word} on .*STOCKSTREAM_CALENDARS"):
            await known_until([(today + timedelta(days), "HOSE")])
