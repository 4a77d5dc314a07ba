"""What doctor looks at on this machine: folders, the room in them, and the file of API keys."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from stockstream.access import keys_of
from stockstream.errors import StockstreamError
from stockstream.settings import Settings
from stockstream.web.keys import READ, ApiKey, read_keys
from stockstream.web.times import rfc3339

_LITTLE_SPACE_BYTES = 1 << 30
_SOON_MS = 14 * 86_400_000


async def room_in(path: Path, setting: str) -> str:
    """How much room a folder has; `StockstreamError`, which names the ``setting``, if it is no use."""
    return await asyncio.to_thread(_room, path, setting)


def _room(path: Path, setting: str) -> str:
    """A directory that does not exist yet is judged by the one it will be made in."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    try:
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"{there} cannot be written by this user")
        with tempfile.TemporaryFile(dir=there):
            pass
        others = _not_ours(path)
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        raise StockstreamError(f"{path} is not usable ({error}): set {setting}, or change its owner") from error
    if others is not None:
        raise StockstreamError(
            f"{others} cannot be written by this user, perhaps since another one ran there: chown -R {os.getuid()} "
            f"{path}"
        )
    if free_bytes < _LITTLE_SPACE_BYTES:
        raise StockstreamError(f"{path} has {free_bytes / 1e9:.1f} GB left: free some, or set {setting} to another")
    return f"{path}, {free_bytes / 1e9:.0f} GB free"


def _not_ours(path: Path) -> Path | None:
    """The first file or folder below ``path`` that we cannot write."""
    for folder, _, files in os.walk(path):
        for each in (Path(folder), *(Path(folder, name) for name in files)):
            if not os.access(each, os.W_OK) and each.exists():  # a worker that runs deletes files
                return each
    return None


async def check_keys(settings: Settings) -> str:
    """Whether there are API keys where they are needed, and nobody else can read their file."""
    keys_of(settings)  # refuses what a worker would
    file, now_ms = settings.api_keys_file, int(time.time() * 1000)
    if file is not None and file.stat().st_mode & stat.S_IROTH:
        raise StockstreamError(f"everybody on this machine may read {file}: chmod o-r {file}")
    filed = () if file is None else read_keys(file.read_text(encoding="utf-8"))
    valid = [key for key in filed if key.expires_ms is None or key.expires_ms > now_ms]
    is_whole = settings.api_key is not None  # it has every scope, and no end
    if filed and not valid and not is_whole:
        raise StockstreamError(f"all {len(filed)} keys of {file} have expired: add what stockstream api-key prints")
    if not settings.reads_are_open and not is_whole and not any(READ in key.scopes for key in valid):
        raise StockstreamError(
            f"nobody may read over HTTP: on STOCKSTREAM_WEB_HOST={settings.web_host} readers need a key with the scope "
            "read, and there is none. Add what stockstream api-key prints to STOCKSTREAM_API_KEYS_FILE, or set "
            "STOCKSTREAM_READS_OPEN=true"
        )
    told = [] if file is None else [f"{file}, {len(valid)} of {len(filed)} in force{_ending(valid, now_ms)}"]
    return "; ".join([*told, *(["STOCKSTREAM_API_KEY"] if is_whole else [])])


def _ending(valid: Sequence[ApiKey], now_ms: int) -> str:
    soon = [key for key in valid if key.expires_ms is not None and key.expires_ms < now_ms + _SOON_MS]
    return "".join(f"; {key.id} ends {rfc3339(key.expires_ms or 0)}" for key in soon)
