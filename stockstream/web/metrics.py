"""``GET /metrics``: what has been counted since the start, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Counted:
    """A family of counters ``stockstream_{name}_total``; ``read`` gives the count of each value of ``label``."""

    name: str
    told: str
    label: str
    read: Callable[[], Mapping[str, int]]


class Metrics(Collector):
    """Answers with families that are read when they are asked for."""

    def __init__(self, families: Sequence[Counted]) -> None:
        self._families = tuple(families)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Every family as it is now."""
        for each in self._families:
            family = CounterMetricFamily(f"stockstream_{each.name}", each.told, labels=[each.label])
            for value, count in each.read().items():
                family.add_metric([str(value)], count)
            yield family

    async def get(self, _request: web.Request) -> web.Response:
        """All of them, in Prometheus' text format."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
