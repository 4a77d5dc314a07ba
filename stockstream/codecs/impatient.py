"""Schemas for commands, which end where a worker waits."""

from __future__ import annotations

from stockstream.codecs.avro import SchemaSource
from stockstream.errors import RegistryUnreachable, StockstreamError
from stockstream.models.schema import AvroSchema


class Impatient:
    """Schemas from ``source``; raises `StockstreamError` where that is unreachable, which no decoder waits through."""

    def __init__(self, source: SchemaSource) -> None:
        self._source = source

    async def schema(self, schema_id: int) -> AvroSchema:
        """Return the schema of an id; raise `BadMessage` if there is none."""
        try:
            return await self._source.schema(schema_id)
        except RegistryUnreachable as error:
            raise StockstreamError(str(error)) from error
