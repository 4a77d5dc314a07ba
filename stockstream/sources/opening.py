"""Opens a venue's WebSocket so that no secret of it can be seen, and none goes anywhere else."""

from __future__ import annotations

import logging
from typing import cast

from websockets.asyncio.client import connect

from stockstream.sources.contract import Feed, Guarded, Location
from stockstream.sources.stream import FrameStream

# At level DEBUG `websockets` logs the request with its path and headers, and these may hold a secret.
_discreet = logging.getLogger("stockstream.sources.websocket")
_discreet.setLevel(logging.INFO)


class _Straight(connect):
    """Follows no redirect: what lets us in is for the venue's own address."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(feed: Feed, connect_s: float, close_s: float) -> FrameStream:
    """Connect to where the feed is; raises `OSError` and `WebSocketException`."""
    place = await feed.locate() if isinstance(feed, Guarded) else Location(feed.url)
    # Frames are small: compression would cost more than it saves. Pings are ours: Kafka's slowness must not count.
    opened = await (_Straight if isinstance(feed, Guarded) else connect)(
        place.url,
        additional_headers=place.headers,
        compression=None,
        open_timeout=connect_s,
        close_timeout=close_s,
        ping_interval=None,
        create_connection=FrameStream,
        logger=_discreet if isinstance(feed, Guarded) else None,
    )
    return cast(FrameStream, opened)
