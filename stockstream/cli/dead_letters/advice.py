"""What can be done about a dead letter, and whether a replay of its bytes can succeed."""

from __future__ import annotations

from stockstream.adapters import policy_of
from stockstream.cli.dead_letters.letters import Letter
from stockstream.codecs import BadRecord, CandleDecoder, TickDecoder
from stockstream.codecs.avro import SchemaSource
from stockstream.codecs.impatient import Impatient
from stockstream.models import Candle, Tick, Verdict
from stockstream.settings import Settings
from stockstream.sinks.delivery import REFUSED

_MEND = "the bytes stay what they are: mend the producer, and have it send the tick anew"

ADVICE: dict[str, str] = {
    Verdict.LATE: "its own times make it late, and would again: a rebuild, which accepts late ticks, takes it from the "
    "archive. Where the feed is known to be so late, raise STOCKSTREAM_FEED_DELAY_S (or "
    "STOCKSTREAM_ACCEPTED_LATENESS_S), start the workers anew, and replay",
    Verdict.FUTURE: "its time lies ahead of its reception, and always will: set the clocks right, or raise "
    "STOCKSTREAM_FUTURE_TOLERANCE_S, start the workers anew, and replay",
    Verdict.BAD_PRICE: _MEND,
    Verdict.BAD_SIZE: _MEND,
    Verdict.BAD_SYMBOL: _MEND,
    Verdict.BAD_TIME: _MEND,
    Verdict.CORRUPT: "where its schema was missing, register it and replay; else " + _MEND,
    Verdict.NO_KEY: "the symbol must be the record's key: " + _MEND,
    Verdict.KEY_MISMATCH: "the symbol must be the record's key: " + _MEND,
    Verdict.EXPIRED: "the rows of its candle are gone, and it alone would replace a whole candle by a fragment: "
    "a rebuild takes it from the archive",
    Verdict.FOREIGN_TOPIC: "the candles of its symbol are made of another topic: have one producer for a symbol, "
    "or give this source's symbols a prefix",
    REFUSED: "ClickHouse took no row of it: mend the table or its disk, and replay",
}
"""By reason."""


def advice(reason: str) -> str:
    """What to do about letters of a reason."""
    return ADVICE.get(reason, "this reason is not known here: another version has put it away")


class Outlook:
    """Says what letters hold and whether a replay can succeed, by the settings and the registry as they are now."""

    def __init__(self, settings: Settings, schemas: SchemaSource) -> None:
        self._policy = policy_of(settings)
        self._candles_topic = settings.topic("candles")
        self._ticks, self._candles = TickDecoder(Impatient(schemas)), CandleDecoder(Impatient(schemas))

    async def prepare(self, letter: Letter) -> None:
        """Fetch the schema of a letter; raises `StockstreamError` while the registry is away."""
        decoder = self._candles if letter.origin.topic == self._candles_topic else self._ticks
        await decoder.prepare([letter.value])

    def content(self, letter: Letter) -> Tick | Candle:
        """What its bytes are; raises `BadRecord`. To be prepared before."""
        if letter.origin.topic == self._candles_topic:
            return self._candles.decode(letter.value)
        return self._ticks.decode(letter.key, letter.value)

    def refusal(self, letter: Letter) -> str | None:
        """Why a replay cannot succeed, and what to do instead; None if it can. To be prepared before."""
        if letter.reason in (Verdict.EXPIRED, Verdict.FOREIGN_TOPIC):
            return advice(letter.reason)
        try:
            content = self.content(letter)
        except BadRecord as error:
            return f"{error}; {advice(error.verdict)}"
        if isinstance(content, Candle):
            return None
        verdict = self._policy.judge(content)
        if verdict is not Verdict.ACCEPTED:
            return advice(verdict)
        if letter.reason == REFUSED and content.kind == "trade" and content.trade_id < 0:
            return "its candle has it already, and a trade without an id would count twice: insert it by hand"
        return None
