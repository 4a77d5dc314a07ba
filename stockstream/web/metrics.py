"""``GET /metrics``: what has been counted since the start, and what there is now, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Counted:
    """A family of counters ``stockstream_{name}_total``; ``read`` gives the count of each value of ``label``."""

    name: str
    told: str
    label: str
    read: Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Gauged:
    """Families of gauges ``stockstream_{name}``, by their names with what each tells.

    ``read`` gives what there is now for each of them, in their order, by the values of ``labels``.
    """

    families: Mapping[str, str]
    labels: tuple[str, str]
    read: Callable[[], Mapping[tuple[str, str], Sequence[float]]]


class Metrics(Collector):
    """Answers with families that are read when they are asked for."""

    def __init__(self, families: Sequence[Counted | Gauged]) -> None:
        self._families = tuple(families)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Every family as it is now."""
        for each in self._families:
            if isinstance(each, Counted):
                counters = CounterMetricFamily(f"stockstream_{each.name}", each.told, labels=[each.label])
                for value, count in each.read().items():
                    counters.add_metric([str(value)], count)
                yield counters
            else:
                found = each.read()
                for place, (name, told) in enumerate(each.families.items()):
                    gauges = GaugeMetricFamily(f"stockstream_{name}", told, labels=each.labels)
                    for values, numbers in found.items():
                        gauges.add_metric(values, numbers[place])
                    yield gauges

    async def get(self, _request: web.Request) -> web.Response:
        """All of them, in Prometheus' text format."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
