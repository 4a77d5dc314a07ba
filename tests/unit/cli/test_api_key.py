"""``stockstream api-key``."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main
from stockstream.web.keys import ApiKeys, read_keys


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["api-key", *arguments])


def test_the_line_is_for_the_file_and_the_secret_is_shown_beside_it(tmp_path: Path) -> None:
    made = run("ci-2", "--scopes", "subscriptions:write, read", "--expires", "2099-01-31")
    assert made.exit_code == 0
    secret = made.stderr.splitlines()[-1]
    (key,) = read_keys(made.stdout)
    assert (key.id, key.scopes) == ("ci-2", {"read", "subscriptions:write"})
    assert key.digest == sha256(secret.encode()).digest()
    assert made.stdout.endswith("expires=2099-01-31T00:00:00.000Z\n")
    assert secret not in made.stdout

    (tmp_path / "keys").write_text(made.stdout)
    assert ApiKeys((), tmp_path / "keys").find(secret) == key


def test_no_two_secrets_are_the_same_and_a_key_need_not_expire() -> None:
    one, other = (run("ci", "--scopes", "read") for _ in range(2))
    assert one.stderr != other.stderr
    assert "expires" not in one.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ci"], "--scopes"),
        (["ci", "--scopes", ""], "scopes must be one or more of read,subscriptions:write"),
        (["ci", "--scopes", "admin"], "scopes must be one or more of read,subscriptions:write"),
        (["My key", "--scopes", "read"], "the id must be"),
        (["ci", "--scopes", "read", "--expires", "2020-01-31"], "in the past"),
        (["ci", "--scopes", "read", "--expires", "soon"], "is no time"),
    ],
)
def test_bad_usage_ends_with_2_and_makes_nothing(arguments: list[str], said: str) -> None:
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert said in refused.stderr
    assert "stockstream_" not in refused.stderr
