"""Settings turned into what a worker alone is made of: the Faust app."""

from __future__ import annotations

import socket
from typing import Any

import faust
from aiohttp import web

from stockstream.adapters import connection_of
from stockstream.broker.connection import Connection
from stockstream.settings import Settings

MAX_WAITING_ANSWERS = 3
"""How many answers to fetches wait for the candle agent. Beside them are the one that it works on, the one that was
taken, and the one that the client holds; each may bring `broker.client_thread.ANSWER_FETCHES` times
``partition_fetch_bytes`` of every broker. So ticks take up ``6 * 4 * brokers * partition_fetch_bytes``, times what
compression had saved."""

_IDLE_S = 75.0
"""How long a connection may be open without a whole request: aiohttp's own hour would let one hold thousands."""

_ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


def credentials_of(connection: Connection) -> Any:
    """Faust's form of the connection's credentials; None where neither TLS nor SASL is used."""
    context = connection.aiokafka().get("ssl_context")
    if connection.sasl_mechanism is not None:
        return faust.SASLCredentials(
            username=connection.sasl_username,
            password=connection.sasl_password,
            mechanism=connection.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def faust_app(settings: Settings, app_type: type[Any], worker_type: type[faust.Worker]) -> Any:
    """The Faust app of these settings, without agents or tables."""
    host = socket.gethostname() if settings.web_host in _ANY_HOST else settings.web_host
    return app_type(
        settings.app_id,
        broker=";".join(f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")),
        broker_credentials=credentials_of(connection_of(settings)),
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_interval_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(30.0, 2 * settings.session_timeout_s),
        consumer_group_instance_id=settings.instance_id or None,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=settings.partition_fetch_bytes,
        datadir=str(settings.data_dir / settings.app_id),  # stores do not know whose they are
        store="rocksdb://",
        producer_max_batch_size=1_000_000,
        stream_buffer_maxsize=MAX_WAITING_ANSWERS,
        stream_wait_empty=True,
        table_standby_replicas=settings.standby_replicas,
        topic_allow_declare=False,  # `ensure_topics` has made them, with settings that Faust does not know
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        web_bind=settings.web_host,
        web_host=host,
        web_port=settings.web_port,
        Worker=worker_type,
    )


def serve_impatiently(app: Any) -> None:
    """Have the app's HTTP server, which has not started, close connections that do not come to a request."""
    app.web._runner = web.AppRunner(app.web.web_app, access_log=None, keepalive_timeout=_IDLE_S)
