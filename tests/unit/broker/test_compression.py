from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import codec


@pytest.mark.parametrize("is_there", [codec.has_gzip, codec.has_lz4, codec.has_snappy, codec.has_zstd])
def test_topics_can_be_read_however_their_producers_compress(is_there: Callable[[], bool]) -> None:
    """Kafka's producers choose; a worker without the library crashes on the first batch, again and again."""
    assert is_there()
