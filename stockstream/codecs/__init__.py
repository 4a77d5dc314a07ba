"""Records as bytes: Avro with the registry's framing, and the registry that holds the schemas."""

from stockstream.codecs.avro import BadRecord, CandleDecoder, Decoder, Encoder, TickDecoder, UnknownSchema
from stockstream.codecs.registry import Registry

__all__ = ["BadRecord", "CandleDecoder", "Decoder", "Encoder", "Registry", "TickDecoder", "UnknownSchema"]
