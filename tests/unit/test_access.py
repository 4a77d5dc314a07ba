"""What a worker's settings become on its HTTP side."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stockstream.access import check_keys, guard_of, keys_of, tell_who_may_read
from stockstream.errors import SettingsError
from stockstream.settings import Settings
from stockstream.web.keys import READ, SCOPES, SUBSCRIPTIONS_WRITE, make_key
from stockstream.web.limits import Limits

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound


def limits_of(settings: Settings) -> Limits:
    return guard_of(settings, keys_of(settings), lambda: 0)._limits


def test_every_limit_is_a_setting_or_stays_as_it_is() -> None:
    names = [each.name for each in fields(Limits) if each.name != "send_timeout_s"]
    assert limits_of(Settings()) == Limits(), "the defaults are said twice, and are the same"
    others: dict[str, Any] = {f"web_{name}": 1000 + at for at, name in enumerate(names)}
    assert limits_of(Settings(**others)) == Limits(*(1000 + at for at in range(len(names))))


def test_the_key_of_the_settings_has_all_scopes_beside_those_of_the_file(tmp_path: Path) -> None:
    secret, key = make_key("ci", [READ])
    (tmp_path / "keys").write_text(key.line)
    keys = keys_of(Settings(api_key=SecretStr(" plain "), api_keys_file=tmp_path / "keys"))
    plain = keys.find("plain")
    assert plain is not None
    assert (plain.id, plain.scopes, plain.expires_ms) == ("STOCKSTREAM_API_KEY", frozenset(SCOPES), None)
    assert keys.find(secret) == key
    assert len(keys_of(Settings())) == 0


def test_a_missing_file_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file") as told:
        keys_of(Settings(api_keys_file=tmp_path / "keys"))
    assert told.value.exit_code == 2


def test_a_file_that_breaks_degrades_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("")
    monkeypatch.setattr("stockstream.web.keys._LOOK_EVERY_S", 0.0)
    keys = keys_of(Settings(api_keys_file=file))
    assert check_keys(keys).ok
    file.write_text("nonsense")
    check = check_keys(keys)
    assert (check.ok, check.required) == (False, False)
    assert "line 1" in check.detail


@pytest.mark.parametrize(
    ("settings", "scopes", "is_told"),
    [
        ({"web_host": ANYWHERE}, [SUBSCRIPTIONS_WRITE], True),
        ({"reads_open": "false"}, [], True),
        ({"web_host": ANYWHERE}, [READ], False),
        ({"web_host": ANYWHERE, "reads_open": "true"}, [], False),
        ({}, [], False),
    ],
)
def test_a_worker_that_nobody_may_read_says_so(
    settings: dict[str, Any], scopes: list[str], is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "keys").write_text(make_key("k", scopes)[1].line if scopes else "")
    made = Settings(**settings, api_keys_file=tmp_path / "keys")
    tell_who_may_read(made, keys_of(made))
    assert ("STOCKSTREAM_READS_OPEN=true" in caplog.text) is is_told
