"""The schema registry, through Confluent's HTTP interface only (Confluent's own, or Apicurio's ``ccompat/v7``)."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from fastavro.schema import SchemaParseException
from schema_registry.client import AsyncSchemaRegistryClient
from schema_registry.client.errors import ClientError
from schema_registry.client.schema import AvroSchema as ClientSchema

from stockstream.errors import BadMessage, RegistryUnreachable, SchemaRefused
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2
from stockstream.models.schema import AvroSchema
from stockstream.trust import distrust_of

T = TypeVar("T")

GREATEST_ID = 2**31 - 1
_REASON_CHARACTERS = 400


class _PooledClient(AsyncSchemaRegistryClient):
    """The client over one connection pool; its own builds a TLS context for each request, 35 ms of the event loop."""

    def __init__(self, url: str, pool: httpx.AsyncClient) -> None:
        super().__init__(url)
        self.pool = pool

    async def request(
        self,
        url: str,
        method: str = "GET",
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: object = None,  # noqa: ASYNC109 - the client's name for it; the pool has its own
    ) -> httpx.Response:
        return await self.pool.request(
            method, url, json=body, params=params, headers=self.prepare_headers(body=body, headers=headers)
        )

    async def effective_compatibility(self, subject: str) -> str:
        """The mode in force for a subject that exists; without the parameter Apicurio says NONE for inherited ones."""
        url, method = self.url_manager.url_for("get_compatibility", subject=subject)
        response = await self.request(url, method, params={"defaultToGlobal": "true"})
        answer = response.json()
        if not response.is_success:
            raise ClientError("no compatibility", http_code=response.status_code, server_traceback=answer)
        return str(answer["compatibilityLevel"])


class Registry:
    """Schemas by subject and by id.

    ``url`` is the base of the interface, ``http(s)://[user:password@]host:port[/path]``; ``timeout_s`` bounds each step
    of a request. ``tls`` is for servers that the usual authorities do not vouch for.
    Every method raises `RegistryUnreachable` if the registry is away, overloaded or refuses the credentials.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.name = parts.netloc.rpartition("@")[2]
        if username is None and parts.username:
            username, password = unquote(parts.username), unquote(parts.password or "")
        auth = httpx.BasicAuth(username, password or "") if username else None
        self._pool = httpx.AsyncClient(auth=auth, timeout=timeout_s, verify=tls or True, transport=transport)
        # Without the password: httpx logs addresses.
        self._client = _PooledClient(parts._replace(netloc=self.name).geturl(), self._pool)

    async def ensure(self, subject: str, schema: AvroSchema) -> int:
        """Return the id of ``schema`` under ``subject``, registered if it was missing.

        Raises `SchemaRefused` if readers of the subject's latest version could not live with it.
        """
        await self.check(subject, schema)
        try:
            schema_id: int = await self._ask(self._client.register(subject, ClientSchema(schema)))
        except ClientError as error:
            raise await self._refused(subject, schema, [_message(error)]) from error
        return schema_id

    async def check(self, subject: str, schema: AvroSchema) -> bool:
        """Whether ``subject`` holds ``schema`` already; False if it is missing and could be registered.

        Raises `SchemaRefused` if it could not.
        """
        ours = ClientSchema(schema)
        if await self._ask(self._client.check_version(subject, ours)) is not None:
            return True
        if await self._ask(self._client.get_versions(subject)):
            try:
                answer = await self._ask(self._client.test_compatibility(subject, ours, verbose=True))
            except ClientError as error:
                raise await self._refused(subject, schema, [_message(error)]) from error
            # The client answers a bare False when the subject vanished in between.
            if isinstance(answer, dict) and not answer.get("is_compatible", False):
                raise await self._refused(subject, schema, answer.get("messages") or [])
        return False

    async def schema(self, schema_id: int) -> AvroSchema:
        """Return the schema of an id; raise `BadMessage` if the registry knows no Avro schema by it."""
        if schema_id > GREATEST_ID:
            raise BadMessage(f"{schema_id} is no schema id: the greatest is {GREATEST_ID}")
        try:
            found = await self._ask(self._client.get_by_id(schema_id))
        except (ClientError, ValueError, SchemaParseException) as error:
            raise BadMessage(f"the schema registry gives no Avro schema for id {schema_id}: {_brief(error)}") from error
        if not isinstance(found, ClientSchema):
            raise BadMessage(f"the schema registry knows no Avro schema with id {schema_id}")
        raw: AvroSchema = found.raw_schema
        return raw

    async def compatibility(self, subject: str) -> str:
        """Return the compatibility mode in force for ``subject``, such as ``BACKWARD``: its own, or the registry's."""
        try:
            return await self._ask(self._client.effective_compatibility(subject))
        except ClientError as error:
            if error.http_code != httpx.codes.NOT_FOUND:
                raise RegistryUnreachable(f"the schema registry at {self.name} answers: {_message(error)}") from error
        try:
            return await self._ask(self._client.get_compatibility())
        except ClientError as error:
            raise RegistryUnreachable(f"the schema registry at {self.name} answers: {_message(error)}") from error

    async def ping(self) -> None:
        """Return if the registry answers."""
        try:
            await self._ask(self._client.get_compatibility())
        except ClientError as error:
            raise RegistryUnreachable(
                f"what answers at {self.name} is no schema registry ({_message(error)}): check SCHEMA_REGISTRY_URL"
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _ask(self, call: Awaitable[T]) -> T:
        """Await one request; what is passing becomes `RegistryUnreachable`, a refusal stays a `ClientError`."""
        try:
            return await call
        except httpx.RequestError as error:
            told = f"the schema registry at {self.name} does not answer ({_brief(error)}): check SCHEMA_REGISTRY_URL"
            distrust = distrust_of(
                error, ca_setting="STOCKSTREAM_SCHEMA_REGISTRY_CA_FILE", address_setting="SCHEMA_REGISTRY_URL"
            )
            if distrust is not None:
                told = f"the schema registry at {self.name} {distrust}"
            raise RegistryUnreachable(told) from error
        except json.JSONDecodeError as error:
            raise RegistryUnreachable(
                f"what answers at {self.name} does not speak JSON, so is no schema registry: check SCHEMA_REGISTRY_URL"
            ) from error
        except ClientError as error:
            code = error.http_code or 0
            if code in (401, 403):
                raise RegistryUnreachable(
                    f"the schema registry at {self.name} refuses the credentials ({code}): "
                    "check schema_registry_username and schema_registry_password"
                ) from error
            if code >= 500 or code in (408, 429):
                raise RegistryUnreachable(
                    f"the schema registry at {self.name} answers {code}: {_message(error)}"
                ) from error
            raise

    async def _refused(self, subject: str, schema: AvroSchema, reasons: list[Any]) -> SchemaRefused:
        mode = await self.compatibility(subject)
        latest = await self._ask(self._client.get_schema(subject))
        if not reasons and latest is not None:
            reasons = _differences(latest.schema.raw_schema, schema)
        told = " ".join("; ".join(str(reason) for reason in reasons).split()) or "it gives no reason"
        if len(told) > _REASON_CHARACTERS:
            told = told[:_REASON_CHARACTERS] + " …"
        return SchemaRefused(
            f"subject {subject} (compatibility {mode}) refuses our schema {schema['name']}: "
            f"{told}; {_advice(schema, mode)}"
        )


def _advice(schema: AvroSchema, mode: str) -> str:
    if schema == TICK_SCHEMA_V2 and mode.startswith(("FORWARD", "FULL")):
        return "set tick_schema=1, or set the subject's compatibility to BACKWARD once every reader knows version 2"
    if schema == TICK_SCHEMA_V1:
        return "set tick_schema=2, which the subject already holds or has outgrown"
    return "use another topic_prefix, or delete the subject or change its compatibility if nothing else reads it"


def _differences(theirs: Any, ours: AvroSchema) -> list[str]:
    """What an old reader or a new one may trip over, field by field: Apicurio refuses without a reason."""
    if not isinstance(theirs, dict) or theirs.get("type") != "record":
        return [f"it holds {theirs!r}, not a record"]
    before = {field["name"]: field for field in theirs["fields"]}
    after = {field["name"]: field for field in ours["fields"]}
    changed = [
        f"{name} is {before[name]['type']} there and {after[name]['type']} here"
        for name in before.keys() & after.keys()
        if before[name]["type"] != after[name]["type"]
    ]
    lost = [f"{name} is missing here" for name in before.keys() - after.keys() if "default" not in before[name]]
    added = [f"{name} has no default" for name in after.keys() - before.keys() if "default" not in after[name]]
    return [*sorted(changed), *sorted(lost), *sorted(added)]


def _message(error: ClientError) -> str:
    told: Any = error.server_traceback
    text = told["message"] if isinstance(told, dict) and "message" in told else error.message
    return " ".join(str(text).split())[:_REASON_CHARACTERS]


def _brief(error: Exception) -> str:
    return str(error) or type(error).__name__
