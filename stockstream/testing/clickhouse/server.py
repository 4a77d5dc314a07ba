"""The HTTP front: ClickHouse's protocol as its clients use it, and a second port that orders faults."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections.abc import Callable

import lz4.frame
from aiohttp import web
from backports import zstd

from stockstream.testing.clickhouse.engine import Engine, EngineError, Reply
from stockstream.testing.clickhouse.faults import ERRORS, Fault, FaultMode, Faults
from stockstream.testing.clickhouse.statement import Statement
from stockstream.testing.process import HOST

_MAX_BODY_BYTES = 1 << 30
_STATUS = {47: 400, 62: 400, 60: 404, 81: 404, 516: 403}


def _unpack_lz4(body: bytes) -> bytes:
    """All of a body, which has a frame for each block of rows; the library's own function reads the first one only."""
    unpacked = bytearray()
    while body:
        frame = lz4.frame.LZ4FrameDecompressor()
        unpacked += frame.decompress(body)
        if not frame.eof:
            raise ValueError("the last lz4 frame is cut off")
        body = frame.unused_data or b""
    return bytes(unpacked)


_CODECS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "lz4": (lz4.frame.compress, _unpack_lz4),
    "zstd": (zstd.compress, zstd.decompress),
    "gzip": (gzip.compress, gzip.decompress),
}


class Server:
    """Answers at ``port`` from ``engine``; whole bodies in, whole replies out."""

    def __init__(self, engine: Engine, port: int) -> None:
        self._engine = engine
        self._port = port
        self._faults = Faults()
        self._refusal: asyncio.Task[None] | None = None
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_routes([web.get("/ping", _ping), web.get("/", self._query), web.post("/", self._query)])
        # a body is decoded here, by the codec its header names: aiohttp knows neither lz4 nor these zstd frames
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
        self._site: web.TCPSite | None = None

    async def start(self) -> None:
        """Open the port."""
        await self._runner.setup()
        await self._listen()

    async def stop(self) -> None:
        """Close the port and every connection."""
        self.clear()
        if self._refusal is not None:
            await self._refusal
        await self._runner.cleanup()

    def control(self) -> web.Application:
        """The application of the control port: ``PUT /faults`` orders one, ``DELETE /faults`` forgets all."""
        app = web.Application()
        app.add_routes([web.put("/faults", self._put_fault), web.delete("/faults", self._delete_faults)])
        return app

    async def order(self, fault: Fault) -> None:
        """Let a fault happen; ``refuse`` has begun on return, the others wait for their requests."""
        if fault.mode is not FaultMode.REFUSE:
            self._faults.add(fault)
        elif self._site is not None:
            await self._site.stop()
            self._site = None
            self._cut_all()
            self._refusal = asyncio.create_task(self._reopen_after(fault.seconds))

    def clear(self) -> None:
        """Forget every fault; a closed port opens again."""
        self._faults.clear()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, HOST, self._port)
        await self._site.start()

    async def _reopen_after(self, seconds: float) -> None:
        await self._faults.last(seconds)
        await self._listen()

    def _cut_all(self) -> None:
        for connection in list(self._runner.server.connections) if self._runner.server else []:
            if connection.transport is not None:
                connection.transport.abort()

    async def _put_fault(self, request: web.Request) -> web.Response:
        order = await request.json()
        await self.order(Fault(**order | {"mode": FaultMode(order["mode"])}))
        return web.Response(text="Ok.\n")

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self.clear()
        if self._refusal is not None:
            await self._refusal
        return web.Response(text="Ok.\n")

    async def _query(self, request: web.Request) -> web.Response:
        if request.content_type == "multipart/form-data":
            return self._error(request, 1, "Form-encoded requests are not served here (UNSUPPORTED_METHOD)")
        body = await request.read()
        if encoding := request.headers.get("Content-Encoding"):
            body = _CODECS[encoding][1](body)
        statement = Statement.read(body, request.query)
        fault = self._faults.take(statement.sql)
        mode = fault.mode if fault is not None else None
        if fault is not None and mode in (FaultMode.HANG, FaultMode.SLOW):
            await self._faults.last(fault.seconds)
        if mode in ERRORS:
            return self._error(request, *ERRORS[mode])
        if mode in (FaultMode.HANG, FaultMode.RESET):
            return _cut(request)
        try:
            reply = await self._engine.run(statement)
        except EngineError as error:
            return self._error(request, error.code, str(error))
        return _cut(request) if mode is FaultMode.LOST else self._answer(request, statement, reply)

    def _answer(self, request: web.Request, statement: Statement, reply: Reply) -> web.Response:
        headers = self._headers(request)
        counts = {"read_rows": reply.rows_read, "written_rows": reply.rows_written, "result_rows": 0}
        headers["X-ClickHouse-Summary"] = json.dumps({name: str(count) for name, count in counts.items()})
        body = reply.body
        if body:
            headers["X-ClickHouse-Format"] = statement.format
            if request.query.get("enable_http_compression") == "1":
                accepted = [each.strip() for each in request.headers.get("Accept-Encoding", "").split(",")]
                encoding = next((each for each in accepted if each in _CODECS), None)
                if encoding is not None:
                    body = _CODECS[encoding][0](body)
                    headers["Content-Encoding"] = encoding
        return web.Response(body=body, headers=headers)

    def _error(self, request: web.Request, code: int, text: str) -> web.Response:
        if not text.startswith("Code:"):
            text = f"Code: {code}. DB::Exception: {text}"
        headers = self._headers(request) | {"X-ClickHouse-Exception-Code": str(code)}
        return web.Response(status=_STATUS.get(code, 500), text=f"{text}\n", headers=headers)

    def _headers(self, request: web.Request) -> dict[str, str]:
        return {
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "stockstream-test",
            "X-ClickHouse-Timezone": self._engine.timezone,
        }


async def _ping(_request: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:  # the client may have left already
        request.transport.abort()
    return web.Response()
