"""``GET /`` and ``GET /static/…``: the live chart page and what it is made of."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from aiohttp import web

# The hash allows one <style> of the chart library's own: that of its logo, which its licence wants shown
_LOGO_STYLE = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {_LOGO_STYLE}",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    "": "text/plain",
}


class Page:
    """Answers with the files of the package's ``static`` folder, and with nothing else.

    Browsers keep them but ask each time whether they changed, so that a new release is seen at once.
    """

    def __init__(self) -> None:
        root = Path(str(files("stockstream.web") / "static"))
        self._files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}

    async def index(self, _request: web.Request) -> web.StreamResponse:
        """The page."""
        return _file(self._files["index.html"], {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"})

    async def static(self, request: web.Request) -> web.StreamResponse:
        """One of its files."""
        path = self._files.get(request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound(text="no such file")
        return _file(path, {})


def _file(path: Path, headers: dict[str, str]) -> web.FileResponse:
    kind = f"{_TYPES[path.suffix]}; charset=utf-8"
    return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": "no-cache", **headers})
