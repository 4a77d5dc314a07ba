"""Encoded records with something wrong in them."""

from __future__ import annotations

from hypothesis import strategies as st


def damaged(encoded: bytes, header_bytes: int, data: st.DataObject) -> bytes:
    """``encoded`` cut off, with a byte changed, or with bytes put in, anywhere behind its header."""
    value = bytearray(encoded)
    at = data.draw(st.integers(header_bytes, len(value)))
    damage = data.draw(st.sampled_from(["cut", "flip", "add"]))
    if damage == "cut":
        del value[at:]
    elif damage == "add":
        value[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    elif at < len(value):
        value[at] ^= data.draw(st.integers(1, 255))
    return bytes(value)
