"""The agent that makes candles of ticks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from stockstream.agents.processor import CandleProcessor
from stockstream.broker.transport import let_go

log = logging.getLogger(__name__)

CLOSE_EVERY_S = 1.0


def attach(app: Any, topic: Any, processor: CandleProcessor, fail: Callable[[BaseException], Awaitable[None]]) -> None:
    """Have ``app`` feed the batches of ``topic`` (one Faust topic, of several names) to ``processor``.

    ``fail`` ends the worker: an error here may have left a batch half done, which a new start takes up from the last
    commit.
    """

    @app.agent(topic, name="candles")  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def candles(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            try:
                done = await processor.process(message.tp, event.value, message.generation_id)
            except Exception as error:
                await fail(error)
                raise
            if done:
                await stream.ack(event)
            else:
                let_go(app, message)

    @app.task  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def close_quiet() -> None:
        while not app.should_stop:
            await app.sleep(CLOSE_EVERY_S)
            try:
                await processor.close_due()
            except Exception as error:
                await fail(error)
                raise

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def revoked(app: Any, revoked: Any, **kwargs: Any) -> None:
        await processor.settle()

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def assigned(app: Any, assigned: Any, **kwargs: Any) -> None:
        processor.keep_only(set(assigned))
