"""A made-up venue is produced by adding its class and its catalog line, as docs/adding-a-source.md says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from stockstream.codecs import Registry, TickDecoder
from stockstream.models import Tick

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-source.md"
PARTITIONS = 3
IMPORTS = """
import json
from stockstream.cli.main import main
from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.catalog import SOURCES, Source
from stockstream.sources.contract import Capabilities
"""


def program() -> str:
    """A program of the guide's own code: its class, its catalog line, and the command line."""
    feed, line = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return f"{IMPORTS}\n{feed}\nSOURCES.update({{{line}}})\nmain()\n"


async def toy(socket: ServerConnection) -> None:
    """Trades of each symbol that is wanted, with rubbish in between."""
    names = json.loads(await socket.recv())["want"]
    for number in range(100):
        for name in names:
            await socket.send(json.dumps([name, number, 1.5 + number, 2, 1_700_000_000_000 + number]))
        await socket.send("rubbish")
    await socket.wait_closed()


async def read(kafka: Any, registry_url: str, topic: str) -> list[Tick]:
    records = await asyncio.to_thread(kafka.topics.read, topic)
    registry = Registry(registry_url)
    decoder = TickDecoder(registry)
    await decoder.prepare([record.value for record in records])
    await registry.close()
    return [decoder.decode(record.key, record.value) for record in records]


async def test_the_guides_venue_is_produced(kafka: Any, registry: Any, tmp_path: Path) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    (tmp_path / "toy.py").write_text(program(), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "SCHEMA_REGISTRY_URL": registry.url,
        "STOCKSTREAM_TOPIC_PREFIX": prefix,
        "STOCKSTREAM_PARTITIONS": str(PARTITIONS),
        "STOCKSTREAM_REPLICATION": "1",
    }
    async with serve(toy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        options = ["produce", "toy", "--symbols", "TOY:A,TOY:B", "--url", f"ws://127.0.0.1:{port}"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(tmp_path / "toy.py"),
            *options,
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                while True:
                    await asyncio.sleep(0.5)
                    assert process.returncode is None, (await process.communicate())[1].decode()
                    if sum((await asyncio.to_thread(_ends, kafka, f"{prefix}toy-prices")).values()) >= 202:
                        break
            process.send_signal(signal.SIGTERM)
            told, _ = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
    ticks = await read(kafka, registry.url, f"{prefix}toy-prices")
    trades = [(tick.symbol, tick.trade_id, tick.price) for tick in ticks if tick.kind == "trade"]
    assert sorted(trades) == [(symbol, n, 1.5 + n) for symbol in ("TOY:A", "TOY:B") for n in range(100)]
    assert sorted(tick.symbol for tick in ticks if tick.kind == "start") == ["TOY:A", "TOY:B"]
    assert "100 bad frames" in told.decode()


def _ends(kafka: Any, topic: str) -> dict[int, int]:
    try:
        return dict(kafka.topics.end_offsets(topic))
    except Exception:  # the producer makes it
        return {}
