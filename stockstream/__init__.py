"""Live market data in, exact candles out. `faust -A stockstream worker` finds its ``app`` here."""

from __future__ import annotations

from typing import Any

app: Any

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    # The app is built on first use (PEP 562): importing the package must neither read settings nor import Faust.
    if name == "app":
        from stockstream.loading import loading

        with loading():
            from stockstream.worker import load_app
        return load_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
