"""Yahoo's message definition as yfinance brings it, without yfinance itself.

To import its package is to import pandas, a parser of HTML and an HTTP client: 80 MB and a third of a worker's start.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

_PACKAGE, _MODULE = "yfinance", "pricing_pb2"


def _pricing_data() -> Any:
    package = find_spec(_PACKAGE)  # runs nothing of it
    spec = package and PathFinder.find_spec(_MODULE, package.submodule_search_locations)
    if not spec or not spec.loader:
        raise ModuleNotFoundError(f"no module named {_PACKAGE}.{_MODULE}", name=f"{_PACKAGE}.{_MODULE}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PricingData


PricingData: Any = _pricing_data()
"""The protobuf message of a price."""
