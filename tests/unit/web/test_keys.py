from __future__ import annotations

import hmac
import os
from hashlib import sha256
from pathlib import Path

import pytest

from stockstream.errors import InvalidInput, SettingsError
from stockstream.web import keys as keys_module
from stockstream.web.keys import READ, SCOPES, SUBSCRIPTIONS_WRITE, ApiKeys, key_of, make_key, read_keys

HASH = f"sha256:{'0a' * 32}"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_secret_is_random_and_its_line_is_read_back_without_it() -> None:
    secret, key = make_key("ci", [READ, SUBSCRIPTIONS_WRITE], 1_800_000_000_000)
    other, _ = make_key("ci", [READ])
    assert secret != other
    assert secret.startswith("stockstream_")
    assert len(secret) == len("stockstream_") + 43  # 256 bits
    assert key.digest == sha256(secret.encode()).digest()
    assert key.line == (f"ci read,subscriptions:write sha256:{key.digest.hex()} expires=2027-01-15T08:00:00.000Z")
    assert read_keys(f"# mine\n\n{key.line}   # for CI\n") == (key,)
    assert secret not in key.line + repr(key)
    assert "digest" not in repr(key)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ci read", "must be ID SCOPES sha256:HASH"),
        (f"ci read {HASH} expires=2027-01-01T00:00:00Z more", "must be ID SCOPES sha256:HASH"),
        (f"CI read {HASH}", "the id must be"),
        (f"ci all {HASH}", "scopes must be one or more of read,subscriptions:write"),
        (f"ci read, {HASH}", "scopes must be one or more of"),
        (f"ci read {HASH[:-1]}", "not the secret"),
        ("ci read stockstream_hush", "not the secret"),
        (f"ci read {HASH} until=tomorrow", "expires=TIME"),
        (f"ci read {HASH} expires=tomorrow", "is no time"),
        (f"one read {HASH}", "the id one is taken"),
    ],
)
def test_a_bad_line_is_named_and_not_shown(line: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"^line 2: ") as told:
        read_keys(f"one read {HASH}\n{line}\n")
    assert said in str(told.value)
    assert "hush" not in str(told.value)


def test_every_key_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ApiKeys([key_of(f"secret {number}", f"k{number}") for number in range(3)])
    calls = []
    real = hmac.compare_digest

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            calls.append(other)
            return real(one, other)

    monkeypatch.setattr(keys_module, "hmac", Counting)
    for secret, found in (("secret 0", "k0"), ("secret 2", "k2"), ("nothing", None), ("", None)):
        calls.clear()
        key = keys.find(secret)
        assert (None if key is None else key.id) == found
        assert len(calls) == 3


def test_bytes_that_are_no_text_are_no_key() -> None:
    keys = ApiKeys([key_of("secret", "k")])
    assert keys.find("\udcff\udcfe") is None


def test_an_empty_secret_never_lets_in() -> None:
    assert ApiKeys([key_of("", "k")]).find("") is None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api-keys"
    path.write_text("")
    return path


def test_keys_are_rotated_while_both_are_valid(file: Path, clock: Clock) -> None:
    old_secret, old = make_key("ci-1", [READ])
    new_secret, new = make_key("ci-2", SCOPES)
    file.write_text(old.line)
    keys = ApiKeys([key_of("of the environment", "env")], file, clock)
    assert (len(keys), keys.find(old_secret), keys.find(new_secret)) == (2, old, None)

    file.write_text(f"{old.line}\n{new.line}\n")
    assert keys.find(new_secret) is None, "the file is looked at once a second"
    clock.now_s += 1
    assert (keys.find(old_secret), keys.find(new_secret)) == (old, new)

    file.write_text(new.line)
    clock.now_s += 1
    assert (keys.find(old_secret), keys.find(new_secret)) == (None, new)
    assert keys.find("of the environment") is not None
    assert keys.wrong is None


@pytest.mark.parametrize("what", ["a bad line", "no text", "for all", "gone", "great"])
def test_a_file_that_breaks_keeps_the_keys_and_says_so_once(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    secret, key = make_key("ci", [READ])
    file.write_text(key.line)
    keys = ApiKeys((), file, clock)
    said = {
        "a bad line": "is no use: line 1: ",
        "no text": "no text in UTF-8",
        "for all": "everybody may write it",
        "gone": "cannot be read: No such file",
        "great": "greater than 1 MiB",
    }[what]

    def damage() -> None:
        file.write_bytes({"no text": b"\xff\xfe", "great": b"#" * (1 << 21)}.get(what, b"ci read hush"))
        if what == "for all":
            file.write_text(key.line)
            file.chmod(0o666)
        elif what == "gone":
            file.unlink()

    damage()
    for _ in range(3):
        clock.now_s += 1
        assert keys.find(secret) == key
    assert keys.wrong is not None
    assert said in keys.wrong
    assert str(file) in keys.wrong
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "hush" not in caplog.text

    with pytest.raises(SettingsError, match="STOCKSTREAM_API_KEYS_FILE"):
        ApiKeys((), file, clock)

    file.write_text("")
    file.chmod(0o600)
    clock.now_s += 1
    assert keys.find(secret) is None
    assert keys.wrong is None


def test_a_file_that_takes_the_place_of_another_of_the_same_length_is_read(file: Path, clock: Clock) -> None:
    (_, one), (secret, other) = make_key("ci", [READ]), make_key("ci", [READ])
    file.write_text(one.line)
    keys = ApiKeys((), file, clock)
    replacement = file.with_name("new")
    replacement.write_text(other.line)
    os.utime(replacement, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    replacement.rename(file)
    clock.now_s += 1
    assert keys.find(secret) == other


def test_whether_any_key_has_a_scope() -> None:
    keys = ApiKeys([key_of("s", "k", [READ])])
    assert (keys.allow(READ), keys.allow(SUBSCRIPTIONS_WRITE)) == (True, False)
