"""Everything that runs: broker and registry in this process, the worker in one of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

import stockstream
from stockstream.broker.embedded import PARTITIONS, EmbeddedBroker
from stockstream.codecs.embedded import EmbeddedRegistry
from stockstream.errors import LEASE_LOST, StockstreamError
from stockstream.settings import Settings

HOST = "127.0.0.1"

_READY_S = 90.0
_LEAVE_S = 15.0
_LEAVE_UNREADY_S = 3.0  # it has folded nothing yet, and what is still starting may take its time to stop
_LOOK_EVERY_S = 0.1
_SAID = re.compile(r"\] \[(WARNING|ERROR|CRITICAL)\] (?!\[\^)(.*)")  # Faust's own begin with [^, and tell no cause
_OURS = ("STOCKSTREAM_", "KAFKA_", "SCHEMA_REGISTRY_", "CLICKHOUSE_", "SYMBOLS")


class System:
    """Runs while it is entered, all on ``folder``; ``extra`` are variables for the worker.

    ``say`` is told, in a line, what happens meanwhile. The candles are in ``folder/clickhouse``, what the worker logs
    is in ``folder/worker.log``. ``settings`` are the worker's.
    """

    def __init__(
        self, folder: Path, port: int, epoch: int, extra: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self.url = f"http://{HOST}:{port}"
        self.log = folder / "worker.log"
        self.settings: Settings
        self._folder, self._port, self._epoch, self._extra, self._say = folder, port, epoch, extra, say
        self._registry = EmbeddedRegistry()
        self._broker: EmbeddedBroker
        self._http: aiohttp.ClientSession
        self._environment: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False

    async def __aenter__(self) -> Self:
        self._broker = EmbeddedBroker()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        try:
            await self._registry.__aenter__()
            ours = self._variables()
            self.settings = Settings.load(ours, self._folder)
            others = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
            paths = [str(Path(stockstream.__file__).parents[1]), others.get("PYTHONPATH")]
            self._environment = {**others, **ours, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
            self.log.write_bytes(b"")
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        await self._http.close()
        await self._registry.__aexit__(None, None, None)
        self._broker.close()

    async def stop(self) -> None:
        """End the worker in good order, if it does not take too long; the candles are on disk then."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _LEAVE_S if self._is_ready else _LEAVE_UNREADY_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            if self._is_ready:
                self._say(
                    f"the worker did not end within {_LEAVE_S:g} s and was killed: its last second may be missing"
                )

    async def supervise(self) -> None:
        """Return never; raises `StockstreamError` if the worker ends, unless that is cured by another start."""
        while self._process is not None:
            if await self._process.wait() != LEASE_LOST:
                raise self._ended()
            self._say("the worker was put out of its group, as after a pause of the machine: starting it again")
            await self._start()

    async def progress(self) -> tuple[int, int]:
        """How many records of the tick topic the worker and the sink have both done with, and how many there are."""
        ends = await self._ends(*self.settings.tick_topics)
        made = await self._committed(self.settings.app_id, *self.settings.tick_topics)
        archived = await self._committed(f"{self.settings.app_id}-sink", *self.settings.tick_topics)
        return min(made, archived), ends

    async def unsaved(self) -> int:
        """How many records of candles are not in ClickHouse."""
        ends = await self._ends("candles")
        return ends - await self._committed(f"{self.settings.app_id}-sink", "candles")

    async def dead_letters(self) -> int:
        """How many records no candle could take."""
        return await self._ends("dead-letters")

    def warnings(self, *levels: str) -> list[str]:
        """What the worker has logged at these levels (`WARNING`, `ERROR`, `CRITICAL`), oldest first."""
        said = _SAID.findall(self.log.read_text(errors="replace"))
        return [text.strip() for level, text in said if level in levels]

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a request to the worker; (0, None) if it does not answer."""
        try:
            async with self._http.get(self.url + path) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, None

    async def _committed(self, group: str, *names: str) -> int:
        return await asyncio.to_thread(self._broker.committed, group, map(self.settings.topic, names))

    async def _ends(self, *names: str) -> int:
        return await asyncio.to_thread(self._broker.ends, map(self.settings.topic, names))

    async def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "stockstream.cli.demo.worker"),  # -P: what lies in the folder is no module
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,  # Ctrl+C is for us, who end it in good order
            )
        self._is_ready = False
        give_up_s = time.monotonic() + _READY_S
        while (await self.get("/health/ready"))[0] != 200:
            if self._process.returncode is not None:
                raise self._ended()
            if time.monotonic() > give_up_s:
                raise StockstreamError(f"the worker was not ready within {_READY_S:g} s{self._more()}")
            await asyncio.sleep(_LOOK_EVERY_S)
        self._is_ready = True

    def _more(self) -> str:
        return f" (all it said is in {self.log}, if --data keeps it)"

    def _ended(self) -> StockstreamError:
        lines = self.log.read_text(errors="replace").splitlines()
        told = [line.removeprefix("stockstream: ") for line in lines if line.startswith("stockstream: ")]
        told = told or self.warnings("CRITICAL") or lines
        reason = told[-1].strip() if told else "it says nothing"
        return StockstreamError(f"the worker has ended: {reason}{self._more()}")

    def _variables(self) -> dict[str, str]:
        return {
            "STOCKSTREAM_CONFIG": os.devnull,  # a file of the user's is for other workers
            "KAFKA_BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self._registry.url,
            "CLICKHOUSE_URL": f"chdb://{self._folder}/clickhouse",
            "STOCKSTREAM_DATA_DIR": str(self._folder / "tables"),
            "STOCKSTREAM_EPOCH": str(self._epoch),
            "STOCKSTREAM_WEB_HOST": HOST,
            "STOCKSTREAM_WEB_PORT": str(self._port),
            "STOCKSTREAM_TICK_TOPICS": "yfinance",
            "STOCKSTREAM_PARTITIONS": str(PARTITIONS),
            "STOCKSTREAM_REPLICATION": "1",
            "STOCKSTREAM_STANDBY_REPLICAS": "0",
            # For the embedded broker each fetch is a search through all that it holds.
            "STOCKSTREAM_LATENCY_BUDGET": "250",
            "STOCKSTREAM_PRODUCER_LINGER_MS": "250",
            **self._extra,
        }
