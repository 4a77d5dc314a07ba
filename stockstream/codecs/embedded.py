"""A schema registry inside this process, as far as `Registry` asks: for the demonstration."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from aiohttp import web

_HOST = "127.0.0.1"
_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND, _INCOMPATIBLE = 40401, 40403, 409


class EmbeddedRegistry:
    """Serves Confluent's interface at ``url`` while it is entered; forgets everything afterwards.

    A subject has one schema for good: any other one is incompatible with it.
    """

    def __init__(self) -> None:
        self.url = ""
        self._schemas: list[str] = []
        self._subjects: dict[str, str] = {}
        app = web.Application()
        app.add_routes(
            [
                web.get("/config", self._config),
                web.get("/config/{subject:.*}", self._config),
                web.get("/schemas/ids/{id}", self._by_id),
                web.post("/subjects/{subject}", self._look_up),
                web.get("/subjects/{subject}/versions", self._versions),
                web.get("/subjects/{subject}/versions/{version}", self._version),
                web.post("/subjects/{subject}/versions", self._register),
                web.post("/compatibility/subjects/{subject}/versions/{version}", self._compatibility),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"compatibilityLevel": "FULL"})

    async def _by_id(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not number.isdecimal() or not 0 < int(number) <= len(self._schemas):
            return _error(404, _SCHEMA_NOT_FOUND, f"there is no schema {number}")
        return web.json_response({"schema": self._schemas[int(number) - 1]})

    async def _look_up(self, request: web.Request) -> web.Response:
        subject, schema = await _asked(request)
        if subject not in self._subjects:
            return _error(404, _SUBJECT_NOT_FOUND, f"there is no subject {subject}")
        if self._subjects[subject] != schema:
            return _error(404, _SCHEMA_NOT_FOUND, f"subject {subject} has another schema")
        return web.json_response(self._told(subject))

    async def _versions(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in self._subjects:
            return _error(404, _SUBJECT_NOT_FOUND, f"there is no subject {subject}")
        return web.json_response([1])

    async def _version(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in self._subjects:
            return _error(404, _SUBJECT_NOT_FOUND, f"there is no subject {subject}")
        return web.json_response(self._told(subject))

    async def _register(self, request: web.Request) -> web.Response:
        subject, schema = await _asked(request)
        if self._subjects.setdefault(subject, schema) != schema:
            return _error(409, _INCOMPATIBLE, f"subject {subject} has another schema")
        if schema not in self._schemas:
            self._schemas.append(schema)
        return web.json_response({"id": self._id_of(schema)})

    async def _compatibility(self, request: web.Request) -> web.Response:
        subject, schema = await _asked(request)
        return web.json_response({"is_compatible": self._subjects.get(subject, schema) == schema})

    def _id_of(self, schema: str) -> int:
        return self._schemas.index(schema) + 1

    def _told(self, subject: str) -> dict[str, Any]:
        schema = self._subjects[subject]
        return {"subject": subject, "id": self._id_of(schema), "version": 1, "schema": schema}


async def _asked(request: web.Request) -> tuple[str, str]:
    """The subject, and the schema in one spelling."""
    body = await request.json()
    return request.match_info["subject"], json.dumps(json.loads(body["schema"]), sort_keys=True)


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)
