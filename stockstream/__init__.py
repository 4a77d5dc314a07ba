"""Live market data in, exact candles out. `faust -A stockstream worker` finds its ``app`` here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stockstream.worker import app as app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    # The app is built on first use (PEP 562): importing the package must neither read settings nor import Faust.
    if name == "app":
        from stockstream.worker import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
