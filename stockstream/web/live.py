"""What every worker knows of every symbol: the newest states from the topics that all workers publish to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from aiokafka import ConsumerRecord

from stockstream.broker.follower import TopicFollower
from stockstream.errors import BadMessage
from stockstream.models import Candle, Latest
from stockstream.push import Hub
from stockstream.web.recent import Recent

_MOST_UNSORTED = 4000
"""So many states of our own wait for somebody to ask. Nearly all of them are superseded by then."""
_CANDLE_KEY, _SYMBOL = attrgetter("symbol", "interval", "session", "window_start"), attrgetter("symbol")

State = TypeVar("State", Candle, Latest)


class LiveView(TopicFollower):
    """Follows the ``candles`` and ``latest`` topics without a consumer group and answers for every symbol.

    ``connection`` are an aiokafka client's arguments; ``prepare`` is awaited with the values of a batch before they
    are decoded; a decoder raises `BadMessage` for bytes that are no record: such records are counted in
    ``undecodable``, logged and passed over. Candles are read from ``history_s`` ago on, by the time they were sent;
    ``latest``, a compacted topic, from its beginning. ``now_ms`` is the wall clock in epoch ms.

    ``ready`` turns true, for good, when everything has been read that was there at the start. ``degraded`` says what
    is wrong while Kafka or the registry is away; the view then answers with what it has and goes on where it was.
    ``is_alone`` tells whether no other worker is expected to send any.
    The worker's own states come by `take_sent` and `take_sent_prices`, all others' from Kafka.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        candles_topic: str,
        latest_topic: str,
        decode_candle: Callable[[bytes], Candle],
        decode_latest: Callable[[bytes], Latest],
        prepare: Callable[[Sequence[bytes]], Awaitable[None]],
        now_ms: Callable[[], int],
        history_s: float = 7200.0,
        is_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(
            connection,
            {candles_topic: history_s, latest_topic: None},
            take=self._keep,
            now_ms=now_ms,
            prepare=prepare,
            is_alone=is_alone,
        )
        self._hub = Hub()
        self._recent = Recent(history_s, self._hub.publish)
        self._unsorted: list[Candle] = []
        self._unsorted_prices: list[Latest] = []
        self._candles_topic, self._latest_topic = candles_topic, latest_topic
        self._decode_candle = decode_candle
        self._decode_latest = decode_latest

    @property
    def hub(self) -> Hub:
        """Tells live clients of every state that is taken in, but for those superseded while nobody asked."""
        self._sort()
        return self._hub

    @property
    def recent(self) -> Recent:
        """What is known."""
        self._sort()
        return self._recent

    @property
    def latest(self) -> Mapping[str, Latest]:
        """The latest price of each symbol that has one."""
        return self.recent.latest

    @property
    def symbols(self) -> set[str]:
        """Every symbol of which a price or a candle is known."""
        return self.recent.symbols

    def candles(self, symbol: str, interval: str, session: str) -> list[Candle]:
        """The recent candles, ascending; they are shared, so not to be changed."""
        return self.recent.candles(symbol, interval, session)

    def take_sent(self, partition: int, offset: int, candles: Sequence[Candle]) -> None:
        """Take in candles that this worker sent, once they are in Kafka; ``offset`` is the first one's.

        They are not read there again.
        """
        self._unsorted += candles
        self._sort_in_time()
        self.step_over(self._candles_topic, partition, offset, offset + len(candles))

    def take_sent_prices(self, partition: int, offset: int, prices: Sequence[Latest]) -> None:
        """The same of latest prices."""
        self._unsorted_prices += prices
        self._sort_in_time()
        self.step_over(self._latest_topic, partition, offset, offset + len(prices))

    def _sort_in_time(self) -> None:
        if len(self._hub) or len(self._unsorted) + len(self._unsorted_prices) > _MOST_UNSORTED:
            self._sort()

    def _sort(self) -> None:
        """Take in what was sent: of each candle and price the newest state."""
        candles, self._unsorted = self._unsorted, []
        prices, self._unsorted_prices = self._unsorted_prices, []
        self._recent.put_candles(_newest(candles, _CANDLE_KEY))
        for price in _newest(prices, _SYMBOL):
            self._recent.put_latest(price)

    def _keep(self, record: ConsumerRecord) -> None:
        if record.topic == self._candles_topic:
            if record.value is None:
                raise BadMessage("a candle's record has no value")
            self._recent.put_candle(self._decode_candle(record.value))
        elif record.value is not None:
            self._recent.put_latest(self._decode_latest(record.value))
        else:
            self.recent.drop_latest((record.key or b"").decode(errors="replace"))


def _newest(states: Iterable[State], key: Callable[[State], Hashable]) -> Iterable[State]:
    """Of those with one key the one of the greatest version."""
    newest: dict[Hashable, State] = {}
    for state in states:
        known = newest.setdefault(key(state), state)
        if state.version > known.version:
            newest[key(state)] = state
    return newest.values()
