"""``GET /openapi.json`` and ``GET /docs``: the OpenAPI document, for machines and for people."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from aiohttp import web

from stockstream.web.openapi import document

Json = dict[str, Any]

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"
}


class Documents:
    """Answers with the document, as JSON and as a page."""

    def __init__(self) -> None:
        whole = document()
        self._json = json.dumps(whole).encode()
        self._page = render(whole)

    async def openapi(self, _request: web.Request) -> web.Response:
        """The OpenAPI document."""
        return web.Response(body=self._json, content_type="application/json", charset="utf-8")

    async def docs(self, _request: web.Request) -> web.Response:
        """The same as a page of plain HTML, which asks no other host for anything."""
        return web.Response(text=self._page, content_type="text/html", headers=_PAGE_HEADERS)


def render(whole: Json) -> str:
    """A document as an HTML page."""
    info = whole["info"]
    routes = "".join(
        _route(method, path, operation, whole)
        for path, operations in whole["paths"].items()
        for method, operation in operations.items()
    )
    models = "".join(_model(name, schema) for name, schema in whole["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(info["title"])} API</title><link rel="icon" href="static/icon.svg">'
        '<link rel="stylesheet" href="static/docs.css"></head><body><main>'
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1><p>{_prose(info['description'])}</p>"
        '<p><a href=".">Live chart</a> · <a href="openapi.json">openapi.json</a></p>'
        f"{routes}<h2>Models</h2>{models}</main></body></html>"
    )


def _model(name: str, schema: Json) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><pre>{text}</pre></section>'


def _route(method: str, path: str, operation: Json, whole: Json) -> str:
    title = f"<b>{method.upper()}</b> <code>{escape(path)}</code>"
    parts = [f"<section><h2>{title}</h2><p>{escape(operation['summary'])}.</p>"]
    if "description" in operation:
        parts.append(f"<p>{_prose(operation['description'])}</p>")
    rows = "".join(_parameter(_resolve(each, whole)) for each in operation.get("parameters", ()))
    if rows:
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th>values</th><th></th></tr>{rows}</table>")
    rows = "".join(_response(code, _resolve(each, whole)) for code, each in operation["responses"].items())
    parts.append(f"<table><tr><th>answer</th><th>type</th><th></th></tr>{rows}</table></section>")
    return "".join(parts)


def _parameter(parameter: Json) -> str:
    schema = parameter["schema"]
    values = ", ".join(schema["enum"]) if "enum" in schema else schema.get("type", "time")
    if "default" in schema:
        values += f" (default {schema['default']})"
    cells = (f"<code>{escape(parameter['name'])}</code>", escape(parameter["in"]), escape(values))
    return f"<tr><td>{'</td><td>'.join(cells)}</td><td>{_prose(parameter.get('description', ''))}</td></tr>"


def _response(code: str, response: Json) -> str:
    (media_type, content), *_ = response.get("content", {"": {"schema": {}}}).items()
    model = content["schema"].get("$ref", "").rpartition("/")[2]
    kind = f'<a href="#{escape(model)}">{escape(model)}</a>' if model else escape(media_type)
    return f"<tr><td>{code}</td><td>{kind}</td><td>{_prose(response['description'])}</td></tr>"


def _resolve(part: Json, whole: Json) -> Json:
    if "$ref" not in part:
        return part
    for name in part["$ref"].removeprefix("#/").split("/"):
        whole = whole[name]
    return whole


def _prose(text: str) -> str:
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
