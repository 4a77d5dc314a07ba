"""A Faust app that is never started: its tables open real stores, its broker does not exist."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import faust
import pytest

from stockstream.tables import Tables, declare


@pytest.fixture
async def faust_app(tmp_path: Path) -> Any:
    return faust.App(
        "unit",
        broker="kafka://127.0.0.1:1",
        datadir=str(tmp_path),
        loop=asyncio.get_running_loop(),
        store="rocksdb://",
        topic_disable_leader=True,
        web_enabled=False,
    )


@pytest.fixture
async def tables(faust_app: Any) -> Tables:
    """The worker's tables, in ``tmp_path``."""
    return declare(faust_app, partitions=4)
