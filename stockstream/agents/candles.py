"""The agent that makes candles of ticks."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stockstream.agents.processor import CandleProcessor
from stockstream.broker.transport import is_settled, work_off
from stockstream.errors import TopicMismatch

log = logging.getLogger(__name__)

CLOSE_EVERY_S = 1.0
GONE_AFTER_S = 5.0


class TopicsAreThere:
    """Raises `TopicMismatch` when a topic is gone for good.

    Kafka's client passes over a deleted topic, and finds one created anew after minutes.
    """

    def __init__(self, app: Any, topics: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._topics = tuple(topics)
        self._clock = clock
        self._gone_since: float | None = None

    def __call__(self) -> None:
        """Look once; a topic may be missing for a moment while its leader changes."""
        # Not topic_partitions(): that is what the group's leader knew when it assigned, and other members know nothing.
        gone = [name for name in self._topics if self._app.consumer.key_partition(name, b"") is None]
        if not (gone and is_settled(self._app)):
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = self._clock()
        elif self._clock() - self._gone_since > GONE_AFTER_S:
            raise TopicMismatch(
                f"topic {gone[0]} has been deleted: to go on with a new one set STOCKSTREAM_EPOCH to one more than now "
                "and start again"
            )


def attach(app: Any, topic: Any, processor: CandleProcessor, fail: Callable[[BaseException], Awaitable[None]]) -> None:
    """Have ``app`` feed the fetches of ``topic`` (one Faust topic, of several names) to ``processor``.

    ``fail`` ends the worker: an error here may have left a batch half done, which a new start takes up from the last
    commit.
    """
    topics_are_there = TopicsAreThere(app, topic.topics)

    @app.agent(topic, name="candles")  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def candles(stream: Any) -> None:
        try:
            await work_off(app, stream, processor.process)
        except Exception as error:
            await fail(error)
            raise

    @app.task  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def close_quiet() -> None:
        while True:
            await app.sleep(CLOSE_EVERY_S)
            if app.should_stop:
                return
            try:
                await processor.close_due()
                topics_are_there()
            except Exception as error:
                if app.should_stop:  # the consumer may have gone meanwhile, and with it everybody to ask
                    log.info("no more windows are closed: %r", error)
                    return
                await fail(error)
                raise

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def revoked(app: Any, revoked: Any, **kwargs: Any) -> None:
        await processor.settle()

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def assigned(app: Any, assigned: Any, **kwargs: Any) -> None:
        processor.keep_only(set(assigned))
