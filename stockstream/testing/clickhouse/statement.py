"""What a ClickHouse HTTP request asks for, read from its body and its parameters; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_INSERT_WITH_DATA = re.compile(
    rb"\s*(INSERT\s+INTO\s+[^\s(]+\s*(?:\([^)]*\)\s*)?(?:SETTINGS\s.+?\s)?)FORMAT\s+(\w+)[ \t;]*(?:\r?\n)?",
    re.IGNORECASE | re.DOTALL,
)
_FORMAT = re.compile(r"\sFORMAT\s+(\w+)$", re.IGNORECASE)
_DEFAULT_FORMAT = "TabSeparated"
_BIND = "param_"
_OF_THE_TRANSPORT = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    }
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: ``data`` is an insert's rows in ``format``; without it ``format`` is the reply's."""

    sql: str
    format: str
    data: bytes | None = None
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, body: bytes, parameters: Mapping[str, str]) -> Statement:
        """From a decompressed body and the URL's parameters, as ClickHouse understands them.

        The SQL is ``query=`` followed by the body; an insert's rows follow its FORMAT clause.
        """
        if query := parameters.get("query"):
            body = query.encode() + (b"\n" + body if body else b"")
        insert = _INSERT_WITH_DATA.match(body)
        if insert and insert[2].upper() != b"VALUES":
            sql, form, data = insert[1].decode(), insert[2].decode(), body[insert.end() :]
        else:
            sql, form, data = body.decode().strip().rstrip(";"), parameters.get("default_format", _DEFAULT_FORMAT), None
            if asked := _FORMAT.search(sql):
                sql, form = sql[: asked.start()], asked[1]
        return cls(
            sql,
            form,
            data,
            parameters.get("database", ""),
            {name: value for name, value in parameters.items() if _is_setting(name)},
            {name.removeprefix(_BIND): value for name, value in parameters.items() if name.startswith(_BIND)},
        )


def _is_setting(name: str) -> bool:
    return name not in _OF_THE_TRANSPORT and not name.startswith(_BIND)
