"""API keys: secrets of which only hashes are kept, what each may do, and until when."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from stockstream.errors import InvalidInput, SettingsError
from stockstream.web.times import parse_time, rfc3339

logger = logging.getLogger(__name__)

READ = "read"
SUBSCRIPTIONS_WRITE = "subscriptions:write"
SCOPES = (READ, SUBSCRIPTIONS_WRITE)

_PREFIX = "stockstream_"  # what scanners for leaked secrets can look for
_SECRET_BYTES = 32
_LOOK_EVERY_S = 1.0
_MOST_BYTES = 1 << 20
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret: ``digest`` is the secret's SHA-256; ``expires_ms`` is epoch ms, None is never."""

    id: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)
    expires_ms: int | None = None

    @property
    def line(self) -> str:
        """The key as it stands in a file of keys."""
        expiry = "" if self.expires_ms is None else f" expires={rfc3339(self.expires_ms)}"
        return f"{self.id} {','.join(sorted(self.scopes))} sha256:{self.digest.hex()}{expiry}"


def make_key(key_id: str, scopes: Iterable[str], expires_ms: int | None = None) -> tuple[str, ApiKey]:
    """A new secret and its key; `InvalidInput` says what is wrong with the id or the scopes."""
    secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return secret, key_of(secret, _checked_id(key_id), _checked_scopes(list(scopes)), expires_ms)


def key_of(secret: str, key_id: str, scopes: Iterable[str] = SCOPES, expires_ms: int | None = None) -> ApiKey:
    """The key of a secret."""
    return ApiKey(key_id, frozenset(scopes), _digest(secret), expires_ms)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of a file, one a line; what follows a # is a comment.

    `InvalidInput` names the first bad line, and never shows what stands there.
    """
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            key = _read_key(words)
            if key.id in keys:
                raise InvalidInput(f"the id {key.id} is taken by a line above")
        except InvalidInput as error:
            raise InvalidInput(f"line {number}: {error}") from None
        keys[key.id] = key
    return tuple(keys.values())


class ApiKeys:
    """The keys in force: those given, and those of a file, which is read again within a second of its change.

    A file that cannot be used when this is made is a `SettingsError`. Later the keys that were in force stay, and
    ``wrong`` says what to do about it. ``steady_s`` is a steady clock.
    """

    def __init__(
        self, given: Iterable[ApiKey] = (), file: Path | None = None, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.wrong: str | None = None
        self._given, self._file, self._steady_s = tuple(given), file, steady_s
        self._filed: tuple[ApiKey, ...] = ()
        self._seen: tuple[int, ...] | None = None
        self._looked_s = steady_s()
        self._read()
        if self.wrong is not None:
            raise SettingsError(self.wrong)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._given) + len(self._filed)

    def allow(self, scope: str) -> bool:
        """Whether any key has the scope."""
        return any(scope in key.scopes for key in self._keys())

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret, expired or not; takes as long whichever it is."""
        digest, found = _digest(secret), None
        for key in self._keys():
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found if secret else None

    def look(self) -> None:
        """Read the file again if it has changed, looking at it once a second."""
        if self._file is None or self._steady_s() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = self._steady_s()
        before, count = self.wrong, len(self)
        if not self._read():
            return
        if self.wrong is None:
            logger.info("API keys: %d are in force, %d before", len(self), count)
        elif self.wrong != before:
            logger.error("%s; the keys from before stay in force", self.wrong)

    def _keys(self) -> Sequence[ApiKey]:
        self.look()
        return (*self._given, *self._filed)

    def _read(self) -> bool:
        """Whether there was anything new to read."""
        if self._file is None:
            return False
        name = f"the file of API keys {self._file} (STOCKSTREAM_API_KEYS_FILE)"
        try:
            state = self._file.stat()
            seen = (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)
            if seen == self._seen:
                return False
            self._seen = seen
            if state.st_mode & stat.S_IWOTH:
                raise InvalidInput("everybody may write it, and so make keys: chmod o-w")
            if state.st_size > _MOST_BYTES:
                raise InvalidInput("it is greater than 1 MiB")
            self._filed, self.wrong = read_keys(self._file.read_text(encoding="utf-8")), None
        except OSError as error:
            self._seen, self.wrong = None, f"{name} cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            self.wrong = f"{name} is no use: it is no text in UTF-8"
        except InvalidInput as error:
            self.wrong = f"{name} is no use: {error}"
        return True


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _read_key(words: Sequence[str]) -> ApiKey:
    if len(words) not in (3, 4):
        raise InvalidInput("must be ID SCOPES sha256:HASH, and expires=TIME if it is to end")
    digest = _HASH.fullmatch(words[2])
    if digest is None:
        raise InvalidInput("no sha256: with 64 hexadecimal digits: put the line of stockstream api-key, not the secret")
    expires_ms = None
    if len(words) == 4:
        name, _, moment = words[3].partition("=")
        if name != "expires":
            raise InvalidInput("the fourth word must be expires=TIME")
        expires_ms = parse_time("expires", moment)
    key_id, scopes = _checked_id(words[0]), _checked_scopes(words[1].split(","))
    return ApiKey(key_id, scopes, bytes.fromhex(digest[1]), expires_ms)


def _checked_id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise InvalidInput("the id must be 1 to 64 of a-z 0-9 . _ -, and begin with a letter or digit")
    return text


def _checked_scopes(names: Sequence[str]) -> frozenset[str]:
    if not names or not set(names) <= set(SCOPES):
        raise InvalidInput(f"scopes must be one or more of {','.join(SCOPES)}")
    return frozenset(names)
