"""``python -m stockstream.testing.clickhouse PATH PORT [CONTROL_PORT]``: run until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from stockstream.testing.clickhouse.engine import Engine
from stockstream.testing.clickhouse.server import Server
from stockstream.testing.process import HOST


async def serve(path: Path, port: int, control_port: int | None) -> None:
    """Serve the data in ``path`` until told to end."""
    engine = Engine(path)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = Server(engine, port)
    control = web.AppRunner(server.control(), access_log=None)
    await control.setup()
    try:
        if control_port is not None:
            await web.TCPSite(control, HOST, control_port).start()
        await server.start()
        await ended.wait()
    finally:
        await server.stop()
        await control.cleanup()
        engine.close()


def main(arguments: list[str]) -> int:
    """Exit code 2 on bad usage."""
    if len(arguments) not in (2, 3) or not all(each.isdigit() for each in arguments[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    control_port = int(arguments[2]) if len(arguments) == 3 else None
    asyncio.run(serve(Path(arguments[0]), int(arguments[1]), control_port))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
