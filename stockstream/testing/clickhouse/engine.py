"""The embedded ClickHouse engine behind a few worker threads."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chdb.session import Session

from stockstream.testing.clickhouse.statement import Statement

_UNKNOWN_ERROR = 1002
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"\w+")


class EngineError(Exception):
    """The engine refused a statement; ``code`` is ClickHouse's own."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _CODE.search(text)
        self.code = int(found[1]) if found else _UNKNOWN_ERROR


@dataclass(frozen=True, slots=True)
class Reply:
    """A statement's result in the format that it asked for."""

    body: bytes
    rows_read: int
    rows_written: int


class Engine:
    """The one engine of this process, on the data in ``path``; a session for each of ``threads`` workers."""

    def __init__(self, path: Path, threads: int = 4) -> None:
        self._path = str(path)
        self._root = Session(self._path)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")
        self.timezone = self._root.query("SELECT timezone()", "TSVRaw").bytes().decode().strip()

    async def run(self, statement: Statement) -> Reply:
        """Execute one statement.

        Raises:
            EngineError: the engine refused it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, statement)

    def close(self) -> None:
        """Let running statements end and close the data."""
        self._pool.shutdown()
        self._root.close()

    def _run(self, statement: Statement) -> Reply:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = Session(self._path)
        try:
            with _context(session, statement):
                return _execute(session, statement)
        except RuntimeError as error:  # what chdb raises, its ChdbError included
            raise EngineError(str(error)) from error


def _execute(session: Session, statement: Statement) -> Reply:
    if statement.data is not None:
        with session.send_insert(statement.sql, statement.format) as insert:
            insert.append(statement.data)
            return Reply(b"", 0, insert.finish().rows_written)
    result = session.query(statement.sql, statement.format, params=dict(statement.binds) or None)
    return Reply(result.bytes(), result.rows_read(), result.rows_written())


@contextmanager
def _context(session: Session, statement: Statement) -> Iterator[None]:
    """Sessions outlive requests: what a request sets is taken back."""
    done: list[str] = []
    try:
        if statement.database:
            session.query("USE `{}`".format(statement.database.replace("`", "``")))
            done.append("USE default")
        for name, value in statement.settings.items():
            if not _NAME.fullmatch(name):
                raise EngineError(f"Code: 115. DB::Exception: Unknown setting {name} (UNKNOWN_SETTING)")
            session.query("SET {} = '{}'".format(name, value.replace("\\", "\\\\").replace("'", "\\'")))
            done.append(f"SET {name} = DEFAULT")
        yield
    finally:
        for undo in done:
            session.query(undo)
