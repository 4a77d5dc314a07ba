"""TLS before a server that speaks none."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from stockstream.testing.certificates import Issued
from stockstream.testing.process import HOST


@dataclass
class TlsProxy:
    """Where it listens, and the heads of the first requests that came on each connection, decrypted."""

    port: int
    heads: list[bytes] = field(default_factory=list)


@contextmanager
def tls_before(url: str, certificate: Issued) -> Iterator[TlsProxy]:
    """A port that shows ``certificate`` and hands on to the host and port of ``url`` what comes."""
    target = urlsplit(url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, TlsProxy]] = Future()

    async def run() -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(join, HOST, 0, ssl=context)
        proxy = TlsProxy(server.sockets[0].getsockname()[1])
        ready.set_result((asyncio.get_running_loop(), ended, proxy))
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)
            writers.append(inner_writer)
            head = await reader.read(1 << 16)
            ready.result()[2].heads.append(head)
            inner_writer.write(head)
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
            for each in writers:
                each.transport.abort()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    loop, ended, proxy = ready.result(30)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
