# syntax=docker/dockerfile:1
# One image for workers, producers and every `stockstream` command:
#   docker run IMAGE                        the worker
#   docker run IMAGE stockstream doctor     any command

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/stockstream
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY stockstream ./stockstream
# As constraints, the lock gives versions to what the package needs, and leaves out what only development does.
# Wheels only: there is no compiler here.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/stockstream/bin/pip install --only-binary :all: --constraint requirements.lock . \
    && /opt/stockstream/bin/pip check

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="stockstream" \
      org.opencontainers.image.description="Ticks in Kafka to exact 1m, 5m and 1d candles, in ClickHouse and over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/stockstream --shell /usr/sbin/nologin stockstream \
    && install --directory --owner stockstream --group stockstream --mode 0750 /var/lib/stockstream
COPY --from=build /opt/stockstream /opt/stockstream
ENV PATH=/opt/stockstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STOCKSTREAM_DATA_DIR=/var/lib/stockstream \
    STOCKSTREAM_WEB_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/stockstream
# Tables live here; what is lost is read again from Kafka. A volume of its own for each worker, never a shared one.
VOLUME /var/lib/stockstream
EXPOSE 6066
# The start may wait a minute for Kafka and the registry before it serves HTTP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.getenv('STOCKSTREAM_WEB_PORT') or 6066}/health/live\", timeout=4)"]
CMD ["faust", "-A", "stockstream", "worker", "-l", "info"]
